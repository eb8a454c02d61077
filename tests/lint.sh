#!/usr/bin/env bash
# Linters, types, and whether generated tables are fresh.  Argument: the interpreter whose environment has them.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${1:-.venv/bin/python}
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
"$PYTHON" -m recipes.readme --check
"$PYTHON" -m benchmarks.readme --check
