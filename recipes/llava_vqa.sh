#!/usr/bin/env bash
# LLaVA-1.5 on visual question answering.  PRESET=demo|demo-qlora|smoke|lora-80gb|qlora-24gb|zero3-8gpu  OUT=folder  [section.key=value …]
source "$(dirname "$0")/_setup.sh"
run_recipe "$0" "$@"
