"""The doors of the Gemini wire."""
