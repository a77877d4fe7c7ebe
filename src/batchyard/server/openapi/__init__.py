"""What the doors take and answer, as an OpenAPI document that programs read."""
