"""The HTTP doors, one folder for each wire."""
