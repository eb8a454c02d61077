#!/usr/bin/env bash
# Checks on this machine what a CPU machine cannot: CUDA, NCCL, 4-bit kernels, paged moments, offload; within five minutes.
# bash recipes/selftest.sh [--only CHECK …] [--out folder]      leaves out/selftest/selftest.json, to attach to a report
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/_setup.sh
setup
exec "$PYTHON" -m recipes selftest "$@"
