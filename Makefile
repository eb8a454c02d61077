# Thin names for the same commands.
PYTHON ?= .venv/bin/python

.PHONY: setup test lint format
setup:
	bash -c 'source recipes/_setup.sh && setup && install requirements-dev.txt'
test:
	bash tests/run.sh
lint:
	bash tests/lint.sh $(PYTHON)
format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
