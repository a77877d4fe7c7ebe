"""The OpenAI wire over HTTP, with Azure's paths."""
