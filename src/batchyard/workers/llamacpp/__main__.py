"""The worker process of the llamacpp engine."""

from batchyard.workers.llamacpp.load import load
from batchyard.workers.serve import serve

if __name__ == "__main__":
    serve(load)
