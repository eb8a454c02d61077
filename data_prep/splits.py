"""The names that splits go by, for sources that look for a split among files and folders."""

from __future__ import annotations

import re
from pathlib import Path

SPLIT_NAMES = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval", "evaluation")
"""As `datasets` knows them: github.com/huggingface/datasets at 0aa2a58, docs/source/repository_structure.mdx."""
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?:-\w+)?")
"""A shard's stem: split, number, count; in sets of before 2023 a hash, too."""


def split_of(path: Path) -> str:
    """The split that a file belongs to by its name, or its folder's; empty where neither is a split's."""
    if shard := SHARD.fullmatch(path.stem):
        return shard[1]
    return next((name for name in (path.stem, path.parent.name) if name.lower() in SPLIT_NAMES), "")
