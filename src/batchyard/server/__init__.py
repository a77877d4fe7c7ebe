"""The doors: where wires enter. Whatever a door is asked, a service or an engine does."""
