"""Seeded simulation of whole walks: virtual time, a disk that forgets, upstreams that fail, and a crash anywhere."""
