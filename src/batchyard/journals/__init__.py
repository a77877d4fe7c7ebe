"""Where answers become safe."""
