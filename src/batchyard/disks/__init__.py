"""Where bytes live on this machine."""
