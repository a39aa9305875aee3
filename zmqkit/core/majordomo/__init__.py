"""The Majordomo broker: takes requests to many services, and gives them to whoever serves."""
