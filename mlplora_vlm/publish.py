"""Pushes a checked folder to a hub: private unless asked, never over another base, compared when it is there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, sha256
from mlplora_vlm.hub_errors import told
from mlplora_vlm.publishable import Kind, PublishableFile, check_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NOWHERE = "none"
OURS = "mlplora_vlm"
"""The key of a README's metadata under which the base is named, also one that is on no hub."""
FIRST = (".gitattributes", "README.md", "LICENSE", ".gitignore")
"""What a repo may hold that nobody has put a model into yet."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class PublishSection:
    """Whether and where the adapter and the merged model go when all is verified."""

    to: str = NOWHERE
    """A repo on the hub, `namespace/name`; `none`: nothing leaves this machine."""
    adapter: bool = True
    """Publish the adapter; beside the merged model it goes to a repo of its own, `namespace/name-adapter`."""
    merged: bool = True
    """Publish the merged model."""
    public: bool = False
    """True: a new repo is made for everyone to see."""
    revision: str | None = None
    """A branch, made where it is missing; null: main."""
    licence: str | None = None
    """The hub's identifier of the base's licence, where the base's README names none; never guessed."""
    base: str | None = None
    """The base's hub id, where `model.id` is a folder on this machine."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        for key, given in (("to", None if self.to == NOWHERE else self.to), ("base", self.base)):
            if given is not None and not hub_id(given):
                yield key, f"{given!r} is no hub id", "write namespace/name, such as me/llava-charts"
        if self.to != NOWHERE and not (self.adapter or self.merged):
            yield "to", "neither the adapter nor the merged model is to be published", "publish one of them, or to=none"
        if self.to != NOWHERE and hub_id(self.to) and not all(map(hub_id, self.destinations().values())):
            yield "to", f"{self.to}-adapter is too long for the hub", "take a shorter name"
        if self.to == NOWHERE and self.public:
            yield "public", "publish.public is about a repo, and publish.to names none", "say publish.to=namespace/name"
        if self.revision is not None and not re.fullmatch(r"(?!refs/)[\w][\w./-]*", self.revision):
            yield "revision", f"{self.revision!r} cannot be a branch", "use letters, digits, '.', '_', '-' and '/'"
        if self.licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.licence):
            yield (
                "licence",
                f"{self.licence!r} is no licence identifier",
                "one of huggingface.co/docs/hub/repositories-licenses, such as apache-2.0 or other",
            )

    def destinations(self) -> dict[Kind, str]:
        """The repo of each of what is to be published."""
        both = self.adapter and self.merged
        wanted: list[tuple[Kind, bool, str]] = [
            ("merged", self.merged, self.to),
            ("adapter", self.adapter, f"{self.to}-adapter" if both else self.to),
        ]
        return {kind: to for kind, asked, to in wanted if asked}


def hub_id(name: str) -> bool:
    """Whether a name could be a repo's on the hub, with its namespace."""
    name_of_repo = name.rpartition("/")[2]
    odd = "--" in name or ".." in name or name.endswith((".git", ".", "-")) or len(name) > 96
    return bool(_ID.fullmatch(name)) and not odd and not name_of_repo.startswith((".", "-"))


def push(
    folder: Path,
    to: str,
    kind: Kind,
    base: str,
    public: bool = False,
    revision: str | None = None,
    message: str = "Upload",
    places: Sequence[Path] = (),
) -> dict[str, Any]:
    """Uploads the folder to the repo ``to``, which is made where it is missing; {url, commit, files, bytes}.

    Goes on where an earlier push broke off: `upload_folder` sends no file and no piece of one that the hub has, and
    the branch changes only when all is there.  Afterwards every file is compared with what the hub says it holds.
    ``base``: what the model was tuned from, as the README's metadata names it.  Raises `MendableError`, with nothing
    changed here.
    """
    from huggingface_hub import HfApi, ModelCard, get_token

    with told(to, "the token cannot be had"):
        token = get_token()
    if token is None:
        raise MendableError("no token was found", to, "log in with `hf auth login`, or set HF_TOKEN")
    files = check_folder(folder, kind, places, [token])
    if not (folder / "README.md").is_file():
        raise MendableError("the folder has no model card", str(folder / "README.md"), "python -m recipes push OUT")
    api = HfApi(token=token)
    with told(to, "the README's metadata is not accepted"):
        ModelCard.load(folder / "README.md").validate("model")
    _prepare(api, to, kind, base, public, revision)
    stale = ["*.safetensors", "*.safetensors.index.json"]  # another number of shards than before
    with told(to, "the upload broke off"):
        done = api.upload_folder(
            repo_id=to, folder_path=folder, revision=revision, commit_message=message, delete_patterns=stale
        )
    _compare(api, to, folder, files, done.oid)
    return {
        "repo": to,
        "kind": kind,
        "url": f"{api.endpoint}/{to}" + (f"/tree/{revision}" if revision else ""),
        "commit": done.oid,
        "files": len(files),
        "bytes": sum(file.bytes for file in files),
    }


def _prepare(api: HfApi, to: str, kind: Kind, base: str, public: bool, revision: str | None) -> None:
    """Makes the repo and the branch where they are missing; refuses a repo that holds something else."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with told(to, "the repo cannot be looked at"):
        try:
            private = bool(api.model_info(to).private)
        except RepositoryNotFoundError:
            private = None
    if private is None:
        with told(to, "the repo cannot be made"):
            api.create_repo(to, private=not public, exist_ok=True)
            private = bool(api.model_info(to).private)  # it may have been there, unseen
    if private == public:
        raise MendableError(
            f"the repo is {'private' if private else 'public'}, and {'public' if public else 'private'} was asked for",
            to,
            "say --public, or choose another repo" if public is False else "change it on the repo's settings page",
        )
    with told(to, "the branches cannot be looked at"):
        branches = {branch.name for branch in api.list_repo_refs(to).branches}
    _refuse_other(api, to, kind, base, revision if revision in branches else None)
    if revision and revision not in branches:
        with told(to, f"the branch {revision} cannot be made"):
            api.create_branch(to, branch=revision, exist_ok=True)


def _refuse_other(api: HfApi, to: str, kind: Kind, base: str, revision: str | None) -> None:
    """A repo is only written to where it is new, or holds the same kind of thing, tuned from the same base."""
    with told(to, "the repo's files cannot be looked at"):
        names = api.list_repo_files(to, revision=revision)
        found = _bases(api, to, names, revision)
    other = "adapter_config.json" if kind == "merged" else "config.json"
    if other in names:
        holds = "an adapter" if kind == "merged" else "a whole model"
        raise MendableError(f"the repo holds {holds}, and this is {kind}", to, "choose another repo with --to")
    if others := sorted(found - {base}):
        raise MendableError(
            f"the repo holds a model of another base: {', '.join(others)}, and this one is tuned from {base}",
            to,
            "choose another repo with --to",
        )
    if not found and (unknown := [name for name in names if name not in FIRST]):
        raise MendableError(
            f"the repo holds files ({', '.join(unknown[:3])}), and its README names no base model",
            to,
            f"choose another repo with --to; or, if it is a model of {base}, say base_model in its README",
        )


def _bases(api: HfApi, to: str, names: Sequence[str], revision: str | None) -> set[str]:
    """What the repo itself says that it was made from."""
    from huggingface_hub import metadata_load

    found: set[str] = set()
    if "README.md" in names:
        try:
            about = metadata_load(api.hf_hub_download(to, "README.md", revision=revision)) or {}
        except ValueError:
            about = {}
        named, ours = about.get("base_model"), about.get(OURS)
        found |= {str(one) for one in (named if isinstance(named, list) else [named]) if one}
        found |= {str(ours["base"])} if isinstance(ours, dict) and ours.get("base") else set()
    if "adapter_config.json" in names:
        config = read_json(Path(api.hf_hub_download(to, "adapter_config.json", revision=revision)))
        found |= {str(config["base_model_name_or_path"])} if config.get("base_model_name_or_path") else set()
    return found


def _compare(api: HfApi, to: str, folder: Path, files: Sequence[PublishableFile], commit: str) -> None:
    """What the hub holds at the commit, against the files here: sizes, and SHA-256 or git's own hash."""
    with told(to, "what was uploaded cannot be looked at"):
        there = {entry.path: entry for entry in api.list_repo_tree(to, revision=commit, recursive=True)}
    odd = []
    for file in files:
        entry: Any = there.get(file.path)
        large = getattr(entry, "lfs", None)
        same = (
            large.sha256 == sha256(folder / file.path) if large else entry and entry.blob_id == _git(folder / file.path)
        )
        odd += [] if same and entry.size == file.bytes else [file.path]
    weights = {name for name in there if name.endswith(".safetensors")} - {file.path for file in files}
    if odd or weights:
        raise MendableError(
            f"the hub does not hold what was sent: {', '.join(sorted([*odd, *weights])[:4])}",
            f"{to} at {commit}",
            "push again; should it stay so, look at the repo's history",
        )


def _git(path: Path) -> str:
    """git's name of a file's content: SHA-1 of a header with its length, and the bytes."""
    raw = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()
