# Thin names for the same commands.
PYTHON ?= .venv/bin/python

.PHONY: setup test lint format smoke bench
setup:
	bash -c 'source recipes/_setup.sh && setup && install requirements-dev.txt'
test:
	bash tests/run.sh
lint:
	bash tests/lint.sh $(PYTHON)
format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
smoke:  # about a minute a recipe
	$(PYTHON) -m recipes.smoke
bench:  # hours on two cores; every one of them goes on where it was stopped
	for name in matrix_factorization rotated_digits compact_trial step_cost vlm_learning_rate \
		padding data_throughput evaluation plan_check low_memory loading merge_memory merge_ways; do \
		OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.$$name || exit 1; done
	$(PYTHON) -m benchmarks.readme
