"""Calls of our own, on every prefix: nobody else's wire has them."""
