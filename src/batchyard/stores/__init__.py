"""Where facts live: one folder per database."""
