"""The licence that a tuned model inherits from its base: as the base's own README says, and never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplora_vlm.errors import MendableError


@dataclass(frozen=True)
class Licence:
    """A licence in the hub's terms (huggingface.co/docs/hub/repositories-licenses)."""

    id: str
    """The hub's identifier, such as ``apache-2.0``; ``other`` for one that has none."""
    name: str | None = None
    """For ``other``: what it is called."""
    link: str | None = None
    """For ``other``: where its text is."""


def base_licence(base: str, revision: str | None = None) -> Licence | None:
    """What the base's README says of its licence; None where it has no README or says nothing.

    ``base`` is a folder or a hub id.  Raises `MendableError` where the hub's README cannot be had.
    """
    about = base_metadata(base, revision)
    licence = about.get("license")
    if not isinstance(licence, str) or not licence.strip():
        return None
    link = about.get("license_link")
    if isinstance(link, str) and "://" not in link:  # a file of the base's repo
        link = None if Path(base).is_dir() else f"https://huggingface.co/{base}/blob/main/{link}"
    name = about.get("license_name")
    return Licence(licence.strip(), str(name) if name else None, str(link) if link else None)


def inherited(base: Licence | None, asked: str | None, where: str) -> Licence:
    """The base's licence; ``asked`` counts where the base says nothing.

    Raises `MendableError` where neither says anything, and where they differ: a tuned model is the base's derivative.
    """
    if base is None and asked is None:
        raise MendableError(
            "the base model's README names no licence, and none is guessed",
            where,
            "look it up, and say it: publish.licence=apache-2.0, or publish.licence=other",
        )
    if base is None:
        return Licence(str(asked))
    if asked is not None and asked != base.id:
        raise MendableError(
            f"the base model is under {base.id}, and publish.licence says {asked}",
            where,
            "leave publish.licence out: the tuned model inherits the base's",
        )
    return base


def base_metadata(base: str, revision: str | None = None) -> dict[str, Any]:
    """The metadata of the base's README; empty where there is none."""
    from huggingface_hub import hf_hub_download, metadata_load
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    from mlplora_vlm.hub_errors import told

    file = Path(base) / "README.md"
    if not Path(base).is_dir():
        with told(base, "the base's README cannot be had"):
            try:
                file = Path(hf_hub_download(base, "README.md", revision=revision))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                return {}
    try:
        return (metadata_load(file) or {}) if file.is_file() else {}
    except ValueError as error:
        raise MendableError("the base's README has no readable metadata", str(file), "say publish.licence") from error
