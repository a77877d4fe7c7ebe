"""What we talk about: values without I/O."""
