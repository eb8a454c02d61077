"""The key of an endpoint: from the environment alone, and in no text that is shown or saved."""

from __future__ import annotations

import os

KEYS = ("MLPLORA_API_KEY", "OPENAI_API_KEY")
"""Environment variables; the first that is set counts."""


def api_key() -> str:
    """The key, or nothing."""
    return next((key for name in KEYS if (key := os.environ.get(name, "").strip())), "")


def without_key(text: str) -> str:
    """The text with dots in the key's place."""
    key = api_key()
    return text.replace(key, "…") if key else text
