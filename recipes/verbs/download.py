"""Fetches a public data set from its official place into the folder where the recipes look for it.

Sizes, licence and citation are shown first.  What is broken off goes on from there; checksums are compared with the
published ones, and where none is published, with that of the first time; archives are unpacked, and removed where they
were fetched.  A set that asks for registration is fetched as far as it goes: the rest is said, and the exit code is 2.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data_prep.download import Step, get, needed, plan
from data_prep.fetch import check_room, gigabytes
from data_prep.public_sets import SETS, PublicSet, public_set
from data_prep.sources import open_source
from mlplora_vlm.errors import MendableError

EXAMPLES = """  python -m recipes download --list
  python -m recipes download vqav2 --only annotations
  python -m recipes download coco_captions --folder /data/coco --yes
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``download``."""
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(each.name for each in SETS)}")
    parser.add_argument("--folder", type=Path, help="in place of the folder that the recipes name, such as data/vqav2")
    parser.add_argument("--only", choices=("images", "annotations"), help="leave out the others")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and end")
    parser.add_argument("--keep", action="store_true", help="keep fetched archives once they are unpacked")
    parser.add_argument("--list", action="store_true", help="the sets, and what they weigh")


def run(given: argparse.Namespace) -> int:
    """0: the set is there; 1: it was not wanted after all; 2: something has to be done by hand."""
    if given.list or not given.name:
        for each in SETS:
            print(_row(each))
        return 0
    chosen = public_set(given.name)
    folder = (given.folder or Path(chosen.folder)).expanduser()
    steps = plan(chosen, folder, given.only)
    _show(chosen, folder, steps, given.keep)
    missing = [step.file.name for step in steps if step.state == "by hand"]
    if not given.dry_run:
        check_room(folder, needed(steps, given.keep))
        if any(step.state == "to fetch" for step in steps) and not given.yes and not _agreed():
            print("nothing was fetched")
            return 1
        for said in get(steps, folder, chosen.page, given.keep):
            print(said, flush=True)
    if missing:
        print(f"\nby hand: {', '.join(missing)}\n  {chosen.by_hand}\n  {chosen.page}\nthen the same command again")
        return 2
    if not given.dry_run and not given.only:
        source = open_source(chosen.source)
        for split in source.SPLITS or ("train",):
            source.check(split, folder)
        print(f"ready: data.source={chosen.source} data.folder={folder}")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise MendableError("there is nobody to ask whether to fetch it", "download", "say so with --yes")
    return input("fetch it? [y/N] ").strip().lower() in ("y", "yes")


def _show(chosen: PublicSet, folder: Path, steps: list[Step], keep: bool) -> None:
    """What the set is, what would be done, and what room that takes."""
    print(f"{chosen.title}, into {folder}\n  page:    {chosen.page}\n  licence: {chosen.licence}")
    print(f"  cite:    {chosen.citation}")
    if chosen.note:
        print(f"  note:    {chosen.note}")
    for step in steps:
        print(f"  {step.state:>9} {_size(step.size):>12}  {step.file.name}  {_checked(step)}")
    if fetched := [step for step in steps if step.state == "to fetch"]:
        unpacked = gigabytes(sum(step.unpacked or 0 for step in fetched))
        print(f"to fetch: {_size(_total(fetched))}, unpacked about {unpacked}, estimated; takes up to about", end=" ")
        print(f"{gigabytes(needed(steps, keep))} of the disk on the way", flush=True)


def _checked(step: Step) -> str:
    if step.state == "there":
        return ", ".join(step.file.places)
    known = step.file.checksum.partition(":")[0]
    return f"{step.file.url or 'no address'} ({f'{known} published' if known else 'no checksum published'})"


def _row(chosen: PublicSet) -> str:
    sizes, fetched = [file.size for file in chosen.files], {bool(file.url) for file in chosen.files}
    published = sum(size or 0 for size in sizes)
    weight = f"{gigabytes(published)}{' and more' if None in sizes else ''}" if published else "size not published"
    hand = {True: "", False: ", by hand"}[True in fetched] or ", in part by hand" * (False in fetched)
    return f"{chosen.name:14} {chosen.title}: {weight}{hand}; {chosen.licence}; {chosen.page}"


def _total(steps: list[Step]) -> int | None:
    return None if any(step.size is None for step in steps) else sum(step.size or 0 for step in steps)


def _size(size: int | None) -> str:
    return "unknown" if size is None else gigabytes(size) if size else ""
