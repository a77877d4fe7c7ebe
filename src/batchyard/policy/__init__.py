"""What we decide: pure functions, no clock, no I/O."""
