"""From a finished run to a hub: only what was verified, byte for byte, and with a card made from its result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, replaced_folder, sha256, write_json, write_text
from mlplora_vlm.licence import Licence, base_licence, inherited
from mlplora_vlm.publish import NOWHERE, PublishSection, hub_id, push
from mlplora_vlm.publishable import Kind, PublishableFile, check_folder
from recipes.recipe import Recipe

STAGED = "publish"
"""The folder in the output where what is sent stands: links to the verified files, and the cards."""


def publish(recipe: Recipe, out: Path, dry_run: bool = False) -> list[dict[str, Any]]:
    """Pushes what the recipe's section names, and says what became of it; ``dry_run`` shows the files and sends none.

    Raises `MendableError` before anything is sent, where the run was not verified as it stands, where a folder holds
    what may not leave this machine, or where the licence or the base is not known.
    """
    section = recipe.publish
    if section.to == NOWHERE:
        raise MendableError("publish.to names no repo", "publish.to", "say --to namespace/name")
    if problems := [MendableError(what, f"publish.{key}", fix) for key, what, fix in section.problems()]:
        raise problems[0]
    staged = stage(recipe, out)
    for kind, (folder, files) in staged.items():
        print(said(section, kind, files, folder), flush=True)
    if dry_run:
        print("dry run: nothing was sent", flush=True)
        return []
    pushed = []
    for kind, (folder, _) in staged.items():
        done = push(
            folder,
            section.destinations()[kind],
            kind,
            base_name(recipe),
            section.public,
            section.revision,
            f"{kind} of {recipe.name}",
            [out],
        )
        print(f"{kind}: {done['url']} at {done['commit'][:12]}, {done['files']} files as they are here", flush=True)
        pushed.append(done)
    return pushed


def stage(recipe: Recipe, out: Path) -> dict[Kind, tuple[Path, list[PublishableFile]]]:
    """OUT/publish/KIND with what would be sent, checked; nothing leaves this machine."""
    result = proven(recipe, out)
    hashes = result["verify"].get("hashes") or {}
    cards = write_cards(recipe, out, result)
    staged: dict[Kind, tuple[Path, list[PublishableFile]]] = {}
    for kind in recipe.publish.destinations():
        folder = out / STAGED / kind
        _check_unchanged(out / kind, kind, hashes)
        verified = sorted((out / kind).iterdir())
        with replaced_folder(folder, {"README.md", *(path.name for path in verified)}) as part:
            for path in verified:
                _link(path, part / path.name)
            if kind == "adapter":
                _name_base(part / "adapter_config.json", base_name(recipe), recipe.model.revision)
            write_text(part / "README.md", cards[kind])
        staged[kind] = folder, check_folder(folder, kind, [out, Path(__file__).parents[1]], _own_token())
    return staged


def write_cards(recipe: Recipe, out: Path, result: dict[str, Any]) -> dict[Kind, str]:
    """The card of each of what is to be published."""
    from mlplora_vlm.families.card import card_for
    from recipes.card import Subject, model_card

    family = card_for(read_json(out / "merged" / "config.json")["model_type"], str(out / "merged" / "config.json"))
    base, licence = base_name(recipe), licence_of(recipe)
    targets = recipe.publish.destinations()
    cards: dict[Kind, str] = {}
    for kind, repo in targets.items():
        sibling = next((other for what, other in targets.items() if what != kind), None)
        cards[kind] = model_card(result, Subject(kind, repo, base, licence, family, sibling, recipe.publish.revision))
    return cards


def proven(recipe: Recipe, out: Path) -> dict[str, Any]:
    """result.json of a run that was verified, with this recipe and on what lies there; raises `MendableError` else."""
    from recipes.chain import Chain
    from recipes.stages import STAGES

    chain = Chain(STAGES, recipe, out)
    if not chain.done("verify"):
        raise MendableError(
            "the run was not verified, or something was made anew since: nothing is published",
            str(out),
            "run the recipe again, or only --from verify; a merged model that fails is not fit to be published",
        )
    if not chain.done("report"):
        raise MendableError("the run has no result yet", str(out), "run the recipe again, or only --from report")
    result: dict[str, Any] = read_json(out / "result.json", dict)
    verify = chain.stamp("verify")["output"]
    if result.get("verify") != verify:
        raise MendableError(
            "result.json says something else than the verification did", str(out), "run again with --from report"
        )
    for step in ("collapse", "merge"):
        error, bound = verify.get(f"{step}_error"), verify.get(f"{step}_bound")
        if error is None or bound is None or not error <= bound:  # NaN fails too
            raise MendableError(
                f"the verification of {step} failed ({error}, allowed is {bound}): nothing is published",
                str(out / "result.json"),
                f"run again with --from {step}",
            )
    return result


def base_name(recipe: Recipe) -> str:
    """What the published files call the base: its hub id; raises `MendableError` where that is not known."""
    name = recipe.model.id
    if Path(name).is_dir() or not hub_id(name):
        if recipe.publish.base is None:
            raise MendableError(
                "the base model is a folder on this machine, which nobody else has",
                "model.id",
                "say which model on the hub it is a copy of: publish.base=namespace/name",
            )
        return recipe.publish.base
    return name


def licence_of(recipe: Recipe) -> Licence:
    """What the tuned model inherits."""
    from data_prep.demo.models import LICENCES

    if recipe.model.id in LICENCES:
        found: Licence | None = Licence(LICENCES[recipe.model.id])
    else:
        found = base_licence(recipe.model.id, recipe.model.revision)
        if found is None and recipe.publish.base is not None and Path(recipe.model.id).is_dir():
            found = base_licence(recipe.publish.base)
    return inherited(found, recipe.publish.licence, "publish.licence")


def missing_for_publishing(recipe: Recipe) -> Iterable[MendableError]:
    """What would be found missing only after the training: looked for before it."""
    if recipe.publish.to == NOWHERE:
        return
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        yield MendableError(
            "publish.to names a repo, and HF_HUB_OFFLINE is set", "publish.to", "unset it, or publish.to=none"
        )
    if get_token() is None:
        yield MendableError(
            "publish.to names a repo, and there is no token to write to it",
            "publish.to",
            "log in with `hf auth login`, or set HF_TOKEN; or publish.to=none, and `python -m recipes push` later",
        )
    for look in (base_name, licence_of):
        try:
            look(recipe)
        except MendableError as error:
            yield error


def said(section: PublishSection, kind: Kind, files: Iterable[PublishableFile], folder: Path) -> str:
    """What would be sent, a line a file."""
    files = list(files)
    who = "public" if section.public else "private"
    branch = f", branch {section.revision}" if section.revision else ""
    total = sum(file.bytes for file in files)
    head = (
        f"{kind} → {section.destinations()[kind]} ({who}{branch}): {len(files)} files, {total:,} bytes, from {folder}"
    )
    return "\n".join([head, *(f"  {file.bytes:>15,}  {file.path}" for file in files)])


def asked(
    section: PublishSection, to: str | None, what: Iterable[str], public: bool, revision: str | None
) -> PublishSection:
    """The section with the command line's words over it."""
    kinds = set(what)
    return replace(
        section,
        to=to or section.to,
        adapter="adapter" in kinds if kinds else section.adapter,
        merged="merged" in kinds if kinds else section.merged,
        public=public or section.public,
        revision=revision or section.revision,
    )


def _check_unchanged(folder: Path, kind: Kind, hashes: dict[str, str]) -> None:
    """Every file is the one that was verified, and there is no other."""
    verified = {name.removeprefix(f"{kind}/"): digest for name, digest in hashes.items() if name.startswith(f"{kind}/")}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} if folder.is_dir() else set()
    fix = "run the recipe again with --from collapse"
    if extra := sorted(there - set(verified)):
        raise MendableError(
            f"{folder.name} holds what was not verified: {', '.join(extra[:4])}", str(folder), f"move it out, or {fix}"
        )
    changed = [name for name, digest in verified.items() if name not in there or sha256(folder / name) != digest]
    if changed or not verified:
        raise MendableError(
            f"{folder.name} is not what was verified: {', '.join(changed[:4]) or 'no file was'}", str(folder), fix
        )


def _link(path: Path, to: Path) -> None:
    """The same file under another name; a copy where the disk has no such links."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copy2(path, to)


def _name_base(config: Path, base: str, revision: str | None) -> None:
    """The adapter's configuration names the base as others know it; the verified file itself stays as it is."""
    value = read_json(config)
    if (value.get("base_model_name_or_path"), value.get("revision")) != (base, revision):
        config.unlink()  # a link to the verified file
        write_json(config, value | {"base_model_name_or_path": base, "revision": revision})


def _own_token() -> list[str]:
    from huggingface_hub import get_token

    token = get_token()
    return [token] if token else []
