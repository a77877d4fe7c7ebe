"""Wire formats, to and from the domain: pure translators, one file each."""
