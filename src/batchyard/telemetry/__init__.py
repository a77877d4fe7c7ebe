"""Logs and measures."""
