#!/usr/bin/env bash
# Qwen2.5-VL on visual question answering.  PRESET=smoke|lora-80gb|qlora-24gb|zero3-8gpu  OUT=folder  [section.key=value …]
source "$(dirname "$0")/_setup.sh"
run_recipe "$0" "$@"
