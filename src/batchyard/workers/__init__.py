"""Models in processes of their own: the side that stays with us, and the sides that run there.

An engine that dies then costs time, not results: its requests fail as crashed, a new process is started, and the
dispatcher asks again.
"""
