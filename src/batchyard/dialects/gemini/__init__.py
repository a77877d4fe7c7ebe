"""The Gemini wire: what its requests ask, said as OpenAI's; what engines answer, said as its own.

Source: the Gemini API reference (generateContent, embedContent, batches, files) and the official clients.
"""
