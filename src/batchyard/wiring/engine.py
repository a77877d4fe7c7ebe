"""Which engine answers a run.

    --upstream URL                    the http engine
    a GGUF file, or `demo`            openvino where it is installed and able, else llamacpp
    an OpenVINO folder                openvino
    a Hugging Face folder or id       the first installed of vllm, sglang, fastdeploy, started and supervised by us
    --engine NAME                     that one, or a clear word why not
"""
