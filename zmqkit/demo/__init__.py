"""The demo: three processes count the words of a text together. One of them is killed."""
