"""Where bytes live: one module per place."""
