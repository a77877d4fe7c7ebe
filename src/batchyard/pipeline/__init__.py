"""The stations of the walk, from an input file to an output file."""
