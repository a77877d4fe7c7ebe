"""Pictures by OpenVINO GenAI's text-to-image pipelines, in the worker of the openvino engine."""
