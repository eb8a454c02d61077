"""The table of public sets: whole, citing its figures, and laid out as the sources expect."""

from __future__ import annotations

import re
from inspect import signature
from pathlib import Path

import pytest
import yaml

from data_prep.public_sets import SETS, PublicFile, PublicSet, licences, public_set, table
from data_prep.sources import SOURCES, open_source
from eval_harness.tasks import TASKS
from mlplora_vlm.errors import MendableError
from recipes.readme import markdown

ROOT = Path(__file__).parents[2]
OWN = {"shapes", "easy_vqa", "image_folder", "table", "parquet", "hub", "messages", "sharegpt", "qwen_vl"}
"""Sources that are drawn, come with a package, or read a user's own files."""
FILES = [(each, file) for each in SETS for file in each.files]
IDS = [f"{each.name}: {file.name}" for each, file in FILES]


def recipes() -> list[Path]:
    return sorted(path for path in (ROOT / "recipes").glob("*.yaml") if not path.name.startswith("_"))


def test_every_real_source_of_a_recipe_has_its_row_where_the_recipe_looks() -> None:
    assert len(recipes()) == 10
    wanted = set()
    for path in recipes():
        recipe = yaml.safe_load(path.read_text("utf-8"))
        wanted.add((recipe["data"]["source"], recipe["data"].get("folder")))
        wanted.add((TASKS[recipe["eval"]["task"]].source, recipe["eval"].get("folder")))
    wanted = {(source, folder) for source, folder in wanted if source not in OWN}
    assert wanted <= {(each.source, each.folder) for each in SETS}


def test_every_set_is_read_by_a_source_and_every_official_source_has_a_set() -> None:
    assert {each.source for each in SETS} == set(SOURCES) - OWN


@pytest.mark.parametrize("chosen", SETS, ids=[each.name for each in SETS])
def test_what_a_set_becomes_satisfies_its_source(chosen: PublicSet, tmp_path: Path) -> None:
    """The source's check looks for existence alone, so that empty files and folders do."""
    source = open_source(chosen.source)
    splits = source.SPLITS or ("train",)
    with pytest.raises(MendableError):
        source.check(splits[0], tmp_path)
    for file in chosen.files:
        for place in file.places:
            path = tmp_path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".json", ".mat"):
                path.write_text("[]")
            else:
                path.mkdir()
    for split in splits:
        source.check(split, tmp_path)
    assert "folder" in signature(source.check).parameters or "folder" in signature(source.rows).parameters


@pytest.mark.parametrize(("chosen", "file"), FILES, ids=IDS)
def test_a_file_says_where_its_figures_are_from(chosen: PublicSet, file: PublicFile) -> None:
    assert bool(file.figures) == bool(file.size or file.checksum)
    if file.figures:
        assert re.search(r"at [0-9a-f]{7}\b", file.figures), "a commit"
    assert file.checksum == "" or re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.checksum)
    assert file.size is None or file.size > 0
    if re.search(r"huggingface\.co|github", file.url):
        assert re.search(r"/[0-9a-f]{40}/", file.url), "pinned to a commit"


@pytest.mark.parametrize(("chosen", "file"), FILES, ids=IDS)
def test_an_address_has_no_account_and_names_lead_nowhere_else(chosen: PublicSet, file: PublicFile) -> None:
    assert file.url == "" or re.fullmatch(r"https?://[a-z0-9.-]+/[^\s?#@]+", file.url)
    for name in (file.name, *file.places):
        assert not Path(name).is_absolute() and ".." not in Path(name).parts
    packed = file.name.endswith((".zip", ".tgz", ".tar.gz"))
    assert packed == bool(file.unpacks)


@pytest.mark.parametrize("chosen", SETS, ids=[each.name for each in SETS])
def test_a_set_says_what_its_user_has_to_know(chosen: PublicSet) -> None:
    assert chosen.page.startswith("https://")
    assert chosen.licence and re.search(r"\b(19|20)\d\d\b", chosen.citation)
    assert bool(chosen.by_hand) == any(not file.url for file in chosen.files)
    names = [file.name for file in chosen.files]
    places = [place for file in chosen.files for place in file.places]
    assert len(set(names)) == len(names) and len(set(places)) == len(places)
    assert public_set(chosen.name) is chosen


def test_an_unknown_name_is_answered_with_the_near_one() -> None:
    with pytest.raises(MendableError, match="did you mean 'vqav2'"):
        public_set("vqa2")


def test_the_same_address_has_the_same_figures_everywhere() -> None:
    figures: dict[str, set[tuple[int | None, str]]] = {}
    for _, file in FILES:
        figures.setdefault(file.url or file.name, set()).add((file.size, file.checksum))
    assert [url for url, found in figures.items() if len(found) > 1] == []


def test_the_documentation_is_fresh() -> None:
    text = (ROOT / "docs" / "downloads.md").read_text("utf-8")
    for mark, made in (("sets", licences()), ("files", table())):
        begin, end = f"<!-- {mark}:begin -->\n", f"\n<!-- {mark}:end -->"
        assert text.split(begin)[1].split(end)[0] == markdown(*made), "python -m recipes.readme"
