# `make` lists what there is. Every target works in the active environment, else in .venv, which `make setup` makes.
BIN := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV)/bin/,$(if $(wildcard .venv/bin/python),.venv/bin/,))

.PHONY: help setup test test-fast lint docs screenshots

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## Make .venv with everything for development, and the hooks of git
	python3 -m venv .venv
	.venv/bin/pip install -q -r requirements-dev.txt
	.venv/bin/pre-commit install

test:  ## All tests, one process a core
	$(BIN)python -m pytest -n auto

test-fast:  ## All but the slow tests and those in a browser
	$(BIN)python -m pytest -n auto -m "not slow"

lint:  ## Style, format and types
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy

docs:  ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)mkdocs build --strict

screenshots:  ## Take the pictures of the README again, from an app of its own
	$(BIN)python -m tests.app.pictures
