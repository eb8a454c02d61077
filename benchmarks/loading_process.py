"""One of `benchmarks.loading`'s processes: waits, loads a model as a training does, reads every weight, waits again.

usage: python -m benchmarks.loading_process FOLDER DTYPE
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    import torch
    import transformers.models.llava.modeling_llava  # noqa: F401

    from mlplora_vlm.load import ModelSection, load_model

    print("ready", flush=True)
    sys.stdin.readline()
    folder, dtype = sys.argv[1:]
    model = load_model(folder, ModelSection(id=folder, dtype=dtype))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.view(torch.int16 if parameter.dtype == torch.bfloat16 else torch.int32).amax()
    print("used", flush=True)
    sys.stdin.readline()
