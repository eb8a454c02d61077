#!/usr/bin/env bash
# PaliGemma 2 on visual question answering.  PRESET=smoke|lora-80gb|qlora-24gb|zero3-8gpu  OUT=folder  [section.key=value …]
source "$(dirname "$0")/_setup.sh"
run_recipe "$0" "$@"
