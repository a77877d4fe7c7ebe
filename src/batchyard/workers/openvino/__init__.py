"""A model on OpenVINO GenAI's continuous batching pipeline: what runs in the worker process."""
