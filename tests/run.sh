#!/usr/bin/env bash
# Linters, then every test.  Arguments go to pytest: bash tests/run.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/_setup.sh
setup
install requirements-dev.txt || die "requirements-dev.txt could not be installed" "see pip's message above"
install requirements-demo.txt --no-deps || echo "the demo's packages are missing: tests that need them are skipped"
bash tests/lint.sh "$PYTHON"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$PYTHON" -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder -rs --durations=12 "$@"
