"""What a caller may ask: files, uploads, batches and keys."""
