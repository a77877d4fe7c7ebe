"""How the demo model is made: its corpus, its training, its conversion."""
