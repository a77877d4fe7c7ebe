"""How bytes travel: HTTP, child processes, programs. Knows nothing of batches."""
