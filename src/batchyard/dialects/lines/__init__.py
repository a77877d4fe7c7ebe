"""Lines of batch files, in and out: one module per dialect, the private ones are their common parts."""
