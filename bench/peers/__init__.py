"""Plain scripts as people write them, to measure beside."""
