"""docs/families.md's tables: every family with its class and the six proofs, from the tests' own result file."""

from __future__ import annotations

from pathlib import Path

from mlplora_vlm.families.card import FamilyCard, known_families
from mlplora_vlm.files import read_json

RESULT = "docs/families/result.json"
PROOFS = ("attach", "batch", "train", "four_bit", "merge", "old_names")

Table = tuple[list[str], list[list[str]]]
"""(heads, rows)."""


def proof_table(root: Path) -> Table:
    """One row a family; a proof that was not run, or failed, says so."""
    path = root / RESULT
    result = read_json(path) if path.exists() else {"families": {}}
    rows = []
    for card in _by_name():
        proven = result["families"].get(card.model_type, {})
        proofs = proven.get("proofs", {})
        marks = ["✓" if proofs.get(proof) else "**fails**" if proof in proofs else "not run" for proof in PROOFS]
        rows.append([card.name, f"`{card.model_type}`", f"`{proven.get('class', '–')}`", *marks, _note(card)])
    version = f"class in transformers {result.get('transformers', '–')}"
    return ["family", "model_type", version, *PROOFS, "note"], rows


def vllm_table() -> Table:
    """What the cards say of serving."""
    return ["family", "vLLM"], [[card.name, card.vllm or "–"] for card in _by_name()]


def _by_name() -> list[FamilyCard]:
    return sorted(known_families().values(), key=lambda card: card.name.lower())


def _note(card: FamilyCard) -> str:
    notes = {
        "projector is a bare weight: `adapter.full=[projector]`": card.bare_projector,
        "rows of a batch hold equally many pictures": card.same_count,
        "recurrent layers": card.recurrent,
    }
    return "; ".join(note for note, holds in notes.items() if holds)
