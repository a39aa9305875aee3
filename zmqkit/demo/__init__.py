"""The demo: three processes count the words of a text together, and one of them is killed."""
