"""Stanford Cars from MATLAB files in the devkit's form (MATLAB 5; a struct array, and a cell array of names)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from told import one_left_out, told, write_pictures

from data_prep.sources import stanford_cars
from mlplora_vlm.errors import MendableError

NAMES = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Acura TL Sedan 2012"]
TRAIN = [("00001.jpg", 3), ("00002.jpg", 1)]
TEST = [("00001.jpg", 2)]


def annotations(rows: list[tuple]) -> np.ndarray:
    """(1, rows), as the devkit has them: boxes and classes as unsigned numbers, of one byte or two."""
    fields = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    found = np.empty((1, len(rows)), dtype=fields)
    for number, (file, car) in enumerate(rows):
        box = (np.uint8(39), np.uint8(116), np.uint16(569), np.uint16(375))
        found[0, number] = (*box, np.uint8(car) if isinstance(car, int) else car, file)
    return found


def folder(path: Path, train: list[tuple] = TRAIN) -> Path:
    (path / "devkit").mkdir()
    savemat(path / "devkit" / "cars_meta.mat", {"class_names": np.array([NAMES], dtype=object)})
    savemat(path / "devkit" / "cars_train_annos.mat", {"annotations": annotations(train)})
    savemat(path / "cars_test_annos_withlabels.mat", {"annotations": annotations(TEST)})
    for split in ("train", "test"):
        write_pictures(path / f"cars_{split}", "00001.jpg", "00002.jpg")
    return path


def test_classes_are_named_counting_from_one(tmp_path: Path) -> None:
    (first, second), rejected = told(stanford_cars.rows("train", folder(tmp_path)))
    assert not rejected and second.where == f"{tmp_path / 'devkit' / 'cars_train_annos.mat'}, row 1"
    assert (first.id, first.answer) == ("stanford_cars/train/000000", "Acura TL Sedan 2012")
    assert (second.answer, second.references) == ("AM General Hummer SUV 2000", ("AM General Hummer SUV 2000",))
    assert first.images == (tmp_path / "cars_train" / "00001.jpg",) and first.question == ""


def test_a_file_of_a_single_row_reads_alike(tmp_path: Path) -> None:
    [only], _ = told(stanford_cars.rows("test", folder(tmp_path)))
    assert only.answer == "Acura RL Sedan 2012" and only.images == (tmp_path / "cars_test" / "00001.jpg",)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        stanford_cars.check("test", tmp_path)
    for part in ("cars_meta.mat", "cars_test_annos_withlabels.mat", "cars_test is missing", "vision/issues/7545"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        (("00001.jpg", 4), "no annotation", "class 4 has no name"),
        (("00001.jpg", 0), "no annotation", "class 0"),
        (("00001.jpg", "3"), "wrong type", "not a whole number"),
        (("00003.jpg", 1), "missing picture", "vision/issues/7545"),
        (("../secret.jpg", 1), "picture outside its folder", "outside"),
        (("linked.jpg", 1), "picture outside its folder", "outside"),
    ],
)
def test_a_bad_row_is_left_out_and_changes_no_other(tmp_path: Path, row: tuple, reason: str, says: str) -> None:
    found = stanford_cars.rows("train", folder(tmp_path, [TRAIN[0], row, TRAIN[1]]))
    accepted, rejected = one_left_out(found, 3)
    assert [row.id for row in accepted] == ["stanford_cars/train/000000", "stanford_cars/train/000002"]
    assert rejected.reason == reason and says in rejected.detail
    assert rejected.where.endswith("cars_train_annos.mat, row 1")


@pytest.mark.parametrize("content", [b"", b"no MATLAB file", b"MATLAB 5.0 MAT-file" + bytes(200)], ids=repr)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = folder(tmp_path) / "devkit" / "cars_train_annos.mat"
    path.write_bytes(content)
    with pytest.raises(MendableError, match="not an official Stanford Cars file"):
        next(stanford_cars.rows("train", tmp_path))


def test_a_file_of_other_variables_is_named(tmp_path: Path) -> None:
    savemat(folder(tmp_path) / "devkit" / "cars_meta.mat", {"names": np.array([NAMES], dtype=object)})
    with pytest.raises(MendableError, match="KeyError"):
        next(stanford_cars.rows("train", tmp_path))
