"""What a folder may hold that goes to a hub: which files, and nothing in them that is this machine's or a secret.

Names are on a list; everything else is refused, whatever it is.  What is inside is looked at too: weights must be
readable safetensors of a model, and no text may hold a token, a key or a place on this machine.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlplora_vlm.errors import MendableError, MendableErrors
from mlplora_vlm.hub_errors import TOKEN

Kind = Literal["adapter", "merged"]

_BESIDE = (
    r"README\.md|LICENSE(?:\.\w+)?|NOTICE(?:\.\w+)?|chat_template\.(?:jinja|json)|additional_chat_templates/[\w-]+\.jinja"
    r"|(?:image_|video_|audio_)?(?:pre)?processor_config\.json|tokenizer(?:_config)?\.json|special_tokens_map\.json"
    r"|added_tokens\.json|vocab\.(?:json|txt)|merges\.txt|(?:tokenizer|spiece|sentencepiece\.bpe)\.model"
)
ALLOWED: dict[Kind, re.Pattern[str]] = {
    "adapter": re.compile(rf"adapter_config\.json|adapter_model\.safetensors|{_BESIDE}"),
    "merged": re.compile(
        r"config\.json|generation_config\.json|model(?:-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
        rf"|{_BESIDE}"
    ),
}
"""Paths in the folder, whole, with forward slashes."""

NEEDED: dict[Kind, tuple[str, ...]] = {
    "adapter": ("adapter_config.json", "adapter_model.safetensors"),
    "merged": ("config.json",),
}
"""Without these it is no such folder."""

_STATE_FILES = r"optim|sched|scaler|rng|trainer_state|training_args|generator|states?\.safetensors$"
_REASONS = (
    (r"(?:^|/)\.", "hidden files stay here"),
    (r"\.(?:bin|pt|pth|pkl|pickle|ckpt|joblib|npy|npz)$", "such files can hold pickled code"),
    (_STATE_FILES, "training states stay here"),
    (r"\.(?:py|so|sh|ipynb)$", "code is not published"),
    (r"\.(?:log|csv|jsonl|html)$", "records of the run stay here"),
)
_SECRETS = {
    "a Hugging Face token": TOKEN,
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a GitHub token": r"\b(?:gh[opsur]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{16,}",
    "an API key": r"\bsk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{24,}",
    "a password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@",
}
_HOMES = re.compile(r"(?:/home|/Users|[A-Za-z]:\\+Users)[/\\]+[\w.-]+[/\\]")
_ABSOLUTE = re.compile(r"(?:file://)?(?:/[\w.@+~-]+){2,}/?")
_STATES = re.compile(r"exp_avg|momentum_buffer|optimizer|master_weight|\bstep\b")
_VOCABULARY = ("vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")


@dataclass(frozen=True)
class PublishableFile:
    """One file, by its path in the folder."""

    path: str
    bytes: int


def check_folder(
    folder: Path, kind: Kind, places: Iterable[Path] = (), secrets: Iterable[str] = ()
) -> list[PublishableFile]:
    """The folder's files, sorted; raises `MendableErrors` with everything that may not leave this machine.

    ``places``: folders whose paths no file may name, beside the home, the working folder and the one for temporary
    files; ``secrets``: texts that no file may hold, such as the user's own token.
    """
    errors, found = [], []
    forbidden, shards = _places([*places, folder]), _shards(folder)
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        if why := _unexpected(path, name, kind, shards):
            errors.append(MendableError(why, str(path), "move it out of the folder, or make the folder anew"))
            continue
        found.append(PublishableFile(name, path.stat().st_size))
        for what in dict.fromkeys(_inside(path, name, forbidden, [secret for secret in secrets if secret])):
            errors.append(MendableError(f"the file holds {what}", str(path), "take it out, and make the folder anew"))
    names = {file.path for file in found}
    missing = [name for name in NEEDED[kind] if name not in names]
    if not any(name.endswith(".safetensors") for name in names):
        missing.append("*.safetensors")
    missing += sorted(shards - names)
    if missing:
        errors.append(
            MendableError(f"no whole {kind} folder: {', '.join(missing[:4])} missing", str(folder), "make it anew")
        )
    if errors:
        raise MendableErrors(errors)
    return found


def _unexpected(path: Path, name: str, kind: Kind, shards: set[str]) -> str:
    """Why the file may not go by its name; empty where it may."""
    if path.is_symlink():
        return f"{name} is a link: what it points to is not known to be the model's"
    if not path.is_file():
        return f"{name} is no plain file"
    if ALLOWED[kind].fullmatch(name):
        return ""
    states = re.search(_STATE_FILES, name)
    if kind == "merged" and name in shards and re.fullmatch(r"[A-Za-z0-9][\w.-]*\.safetensors", name) and not states:
        return ""  # the base's own name for a part of its weights
    why = next((why for pattern, why in _REASONS if re.search(pattern, name)), "it is on no list of a model's files")
    return f"{name} is unexpected: {why}"


def _inside(path: Path, name: str, places: list[re.Pattern[str]], secrets: list[str]) -> Iterator[str]:
    if name.endswith(".safetensors"):
        yield from _weights(path, places, secrets)
        return
    raw = path.read_bytes()
    if any(secret.encode() in raw for secret in secrets):
        yield "your access token"
    if name.endswith(".model") or name in _VOCABULARY:  # tokens of the language, which may look like anything
        return
    try:
        text = raw.decode("utf-8")
        texts = list(_strings(json.loads(text), name)) if name.endswith(".json") else [text]
    except ValueError:
        yield "no readable text"
        return
    for one in texts:
        yield from _said(one, places)
        if name.endswith(".json") and _ABSOLUTE.fullmatch(one):
            yield f"the absolute path {one!r}"


def _weights(path: Path, places: list[re.Pattern[str]], secrets: list[str]) -> Iterator[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            keys, about = list(file.keys()), file.metadata() or {}
    except (SafetensorError, OSError):
        yield "no safetensors, whatever its name says"
        return
    if states := [key for key in keys if _STATES.search(key)]:
        yield f"an optimizer's states, such as {states[0]}"
    for text in (*about.keys(), *about.values()):
        yield from _said(text, places)
        if any(secret in text for secret in secrets):
            yield "your access token"


def _said(text: str, places: list[re.Pattern[str]]) -> Iterator[str]:
    for what, pattern in _SECRETS.items():
        if re.search(pattern, text):
            yield what  # never what it says
    for place in (*places, _HOMES):
        if hit := place.search(text):
            yield f"a place on this machine, {hit.group().strip()!r}"
            return


def _strings(value: Any, name: str) -> Iterator[str]:
    """Every text in JSON, keys too; of tokenizer.json not the vocabulary."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, "")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            if (name, key) != ("tokenizer.json", "model"):
                yield from _strings(item, "")


def _places(folders: Iterable[Path]) -> list[re.Pattern[str]]:
    """Patterns of what lies in these folders, in the home, the working folder and the one for temporary files."""
    known = [*folders, Path.home(), Path.cwd(), Path(tempfile.gettempdir())]
    names = {str(path) for folder in known for path in (folder.absolute(), folder.resolve())}
    return [re.compile(rf"(?<![\w.-]){re.escape(name)}(?:[/\\][\w.-]|$)") for name in sorted(names) if len(name) > 1]


def _shards(folder: Path) -> set[str]:
    """The files that the index names."""
    index = folder / "model.safetensors.index.json"
    try:
        return set(json.loads(index.read_text("utf-8"))["weight_map"].values()) if index.is_file() else set()
    except (ValueError, KeyError, AttributeError):
        return {"a readable model.safetensors.index.json"}
