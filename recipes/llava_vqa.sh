#!/usr/bin/env bash
# LLaVA on visual question answering.  PRESET=demo|smoke|lora-80gb|qlora-24gb|zero3-8gpu  OUT=folder  [section.key=value …]
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/_setup.sh
setup_recipe recipes/llava_vqa.yaml "$@"
exec "$PYTHON" -m recipes run recipes/llava_vqa.yaml "$@"
