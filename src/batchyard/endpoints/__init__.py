"""What one kind of request looks like: one file per kind, pure."""
