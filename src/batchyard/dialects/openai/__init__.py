"""The calls, objects, errors and streams of the OpenAI wire, with Azure's forms of them."""
