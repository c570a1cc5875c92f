# Every target does its own set-up: a virtual environment inside this folder, nothing global.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo test test-trino lint docs clean bench

demo: $(VENV)/.core
	@$(BIN)/oomscope demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 -rs

# The statements for Athena on a real Trino, which Maven fetches (270 MB); needs a JDK 17.
test-trino: $(STAMP)
	$(BIN)/python -m pytest -m trino tests/trino

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

bench: $(STAMP)
	@test -n "$(CORPUS)" || { echo "make bench CORPUS=folder/of/incidents"; exit 2; }
	$(BIN)/python -m bench.accuracy --corpus $(CORPUS)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "oomscope needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(STAMP): $(VENV)/bin/python pyproject.toml requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all]' -r requirements-dev.txt
	@touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
