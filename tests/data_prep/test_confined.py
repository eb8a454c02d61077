"""Picture files by name: none that lies outside of their folder is handed out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.confined import Pictures
from data_prep.rows import RowError


def folder(path: Path) -> Path:
    """A folder with pictures, beside one whose file no row may reach."""
    inside, outside = path / "inside", path / "outside"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    for path in (inside / "a.jpg", inside / "deep" / "b.jpg", outside / "secret.jpg"):
        path.write_bytes(b"not opened here")
    (inside / "linked.jpg").symlink_to(outside / "secret.jpg")
    (inside / "linked").symlink_to(outside)
    (inside / "alias.jpg").symlink_to(inside / "a.jpg")
    (inside / "round.jpg").symlink_to(inside / "round.jpg")
    return inside


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(folder(tmp_path), "unpack it")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("confined"))


def refused(pictures: Pictures, name: str) -> RowError:
    with pytest.raises(RowError) as error:
        pictures(name, "row 7")
    assert error.value.where == "row 7" and len(str(error.value)) < 1000
    return error.value


def test_pictures_inside_are_found(pictures: Pictures) -> None:
    for name in ("a.jpg", "deep/b.jpg", "alias.jpg", "./a.jpg", f"{pictures.folder}/a.jpg"):
        assert pictures(name, "row 7") == pictures.folder / name


@pytest.mark.parametrize(
    "name",
    [
        "../outside/secret.jpg",
        "deep/../../outside/secret.jpg",
        "deep/../a.jpg",
        "linked.jpg",
        "linked/secret.jpg",
        "{}/../outside/secret.jpg",
        "{}/../inside/linked.jpg",
        "{}/linked.jpg",
        "/etc/passwd",
    ],
)
def test_pictures_outside_are_refused(pictures: Pictures, name: str) -> None:
    error = refused(pictures, name.format(pictures.folder))
    assert error.reason == "picture outside its folder" and "lies outside" in error.what


@pytest.mark.parametrize(
    "name", ["", ".", "deep", "none.jpg", "no/a.jpg", "round.jpg", "a\0.jpg", "\ud800.jpg", "x" * 300]
)
def test_no_picture_is_missing(pictures: Pictures, name: str) -> None:
    assert refused(pictures, name).reason == "missing picture"


def test_a_missing_picture_is_said_with_its_remedy(pictures: Pictures) -> None:
    assert refused(pictures, "none.jpg").what == f"there is no {pictures.folder / 'none.jpg'}: unpack it"
    pictures.missing = ""
    assert refused(pictures, "none.jpg").what.endswith("none.jpg")


def test_the_folder_itself_may_be_a_link(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pictures.folder)
    assert Pictures(tmp_path / "link")("deep/b.jpg", "row 7").is_file()


parts = st.sampled_from(
    ["..", ".", "", "deep", "linked", "linked.jpg", "a.jpg", "b.jpg", "outside", "inside", "secret.jpg"]
)


@given(st.lists(st.lists(parts | st.text(max_size=3), max_size=6), min_size=1, max_size=5), st.booleans())
def test_no_name_leads_out(kept: Path, names: list[list[str]], absolute: bool) -> None:
    pictures = Pictures(kept)
    for each in names:  # one after the other: what is remembered of folders must not open a way
        try:
            found = pictures("/".join([str(kept), *each] if absolute else each), "row 7")
        except RowError:
            continue
        assert found.is_file() and found.resolve().is_relative_to(kept.resolve())
