"""The worker process of the openvino engine."""

from batchyard.workers.openvino.load import load
from batchyard.workers.serve import serve

if __name__ == "__main__":
    serve(load)
