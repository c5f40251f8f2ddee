"""How it is driven: the command line."""
