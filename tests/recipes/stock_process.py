"""Run in a process that cannot import the project: loads adapter/ and merged/ with stock libraries alone.

usage: stock_process.py OUT BASE RESULT.json
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

for room in ("mlplora_vlm", "data_prep", "eval_harness", "recipes"):
    assert importlib.util.find_spec(room) is None, f"{room} can be imported here"

out, base = Path(sys.argv[1]), sys.argv[2]
recorded = load_file(out / "train" / "reference.safetensors")
batch = {key[2:]: tensor for key, tensor in recorded.items() if key.startswith("0|")}
wanted, labels = batch.pop("answer_logits"), batch.pop("labels")
processor = AutoProcessor.from_pretrained(out / "merged")
prompts = json.loads((out.parent / "prompts.json").read_text())
answers, errors = {}, {}
for name in ("adapter", "merged"):
    if name == "adapter":
        model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), out / "adapter")
    else:
        model = AutoModelForImageTextToText.from_pretrained(out / "merged")
    model.eval()
    with torch.inference_mode():
        logits = model(**batch).logits.float()[:, :-1][labels[:, 1:] != -100]
        errors[name] = ((logits - wanted).norm() / wanted.norm()).item()
        answers[name] = []
        for prompt, picture in prompts:
            from PIL import Image

            inputs = processor(text=prompt, images=Image.open(picture), return_tensors="pt", add_special_tokens=False)
            said = model.generate(**inputs, do_sample=False, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]
            answers[name].append(processor.tokenizer.decode(said, skip_special_tokens=True).strip())
Path(sys.argv[3]).write_text(json.dumps({"errors": errors, "answers": answers}))
