"""Translators of wires: `lines/` of batch files, and one folder per wire for the calls and objects of the server."""
