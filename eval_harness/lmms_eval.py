"""The command line that evaluates a merged model with lmms-eval.

Which of its models reads a family stands on the family's card.  Names and arguments: github.com/EvolvingLMMs-Lab/
lmms-eval at commit 75571cf, lmms_eval/models/__init__.py, models/simple/ and models/chat/, and its package 0.7.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import card_for
from mlplora_vlm.files import read_json

GENERIC = "huggingface"
"""lmms-eval's model for whatever transformers' auto classes load; always in bfloat16."""


def lmms_results(out: Path, since: float = 0.0) -> Path | None:
    """The newest results that lmms-eval left in its folder since then (seconds of the epoch), if any.

    Its exit code does not tell: 0.7.3 ends with 0 after an error too.
    """
    found = [path for path in out.rglob("*_results.json") if path.stat().st_mtime >= since]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def lmms_command(
    folder: Path,
    tasks: Sequence[str],
    python: str,
    out: Path,
    include: Path | None = None,
    device: str = "cuda",
    batch_size: int = 1,
    exact: bool = False,
) -> list[str]:
    """The words of the command; ``include`` is a folder with tasks of one's own, ``exact`` asks for float32.

    Raises MendableError for a folder that is no merged model, an unknown family, and where lmms-eval's model of the
    family cannot be told to use float32.
    """
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise MendableError("this is an adapter; lmms-eval loads whole models", str(folder), "name the merged folder")
    if not (folder / "config.json").is_file():
        raise MendableError("the folder holds no model (config.json)", str(folder), "name a merged folder")
    if set(str(folder)) & set(",="):
        what = "lmms-eval cuts its arguments at ',' and '='"
        raise MendableError(what, str(folder), "rename the folder, or link to it from elsewhere")
    model = card_for(read_json(folder / "config.json")["model_type"], str(folder / "config.json")).lmms_eval or GENERIC
    arguments = [f"pretrained={folder.absolute()}"]
    if device != "cuda":
        arguments.append(f"device_map={device}")  # the device itself is an option of the command
    if exact:
        if model != "llava_hf":
            raise MendableError(f"lmms-eval's {model} takes no precision", "lmms-eval", "leave float32 out")
        arguments.append("dtype=float32")
    return [
        *(python, "-m", "lmms_eval"),
        *("--model", model),
        *("--model_args", ",".join(arguments)),
        *("--tasks", ",".join(tasks)),
        *(("--include_path", str(include.absolute())) if include else ()),
        *("--batch_size", str(batch_size)),
        *(("--device", device) if device != "cuda" else ()),
        *("--log_samples", "--output_path", str(out)),
    ]
