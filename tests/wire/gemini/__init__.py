"""The Gemini wire, by its official client."""
