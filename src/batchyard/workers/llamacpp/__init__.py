"""A GGUF model on llama.cpp, through xllamacpp: what runs in the worker process."""
