"""Stanford Cars (Krause et al., 3dRR 2013): photographs of 196 cars to be named by make, model, body type and year.

The folder holds what the authors' archives unpack to, as torchvision lays it out: ``devkit/cars_meta.mat`` (the class
names), ``devkit/cars_train_annos.mat``, ``cars_test_annos_withlabels.mat``, ``cars_train/`` and ``cars_test/``.  8,144
train and 8,041 test pictures.  The authors' own page is gone; torchvision's issue 7545 lists where copies are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.columns import numbered
from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import Row, RowError
from data_prep.sources import known_split

SPLITS = ("train", "test")
CARS = Official("Stanford Cars", "https://github.com/pytorch/vision/issues/7545")


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming each file or folder that is missing and where it comes from; opens none of them."""
    known_split("stanford_cars", split, SPLITS)
    folder = CARS.given(folder)
    wanted = (_class_names(folder), _annotations(split, folder), folder / f"cars_{split}")
    CARS.present((path, f"a copy that {CARS.page} names") for path in wanted)


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's pictures in the file's order, each with its class name as the answer and without a question.

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = CARS.given(folder)
    names, path = _matlab(_class_names(folder), "class_names"), _annotations(split, folder)
    pictures = Pictures(folder / f"cars_{split}", f"take the folder again from a copy that {CARS.page} names")

    def example(row: Any, where: str, number: int) -> Example:
        car = field(row, "class", int, where)  # counted from 1, as MATLAB does
        if not 1 <= car <= len(names):
            raise RowError("no annotation", f"class {car} has no name: {_class_names(folder).name} has {len(names)}")
        return Example(
            id=f"stanford_cars/{split}/{number:06d}",
            images=(pictures(field(row, "fname", str, where), where),),
            question="",
            answer=names[car - 1],
            references=(names[car - 1],),
            category="car",
        )

    found = enumerate(_matlab(path, "annotations"))
    yield from numbered(((f"{path}, row {number}", row) for number, row in found), example)


def _class_names(folder: Path) -> Path:
    return folder / "devkit" / "cars_meta.mat"


def _annotations(split: str, folder: Path) -> Path:
    return folder / ("devkit/cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat")


def _matlab(path: Path, variable: str) -> list[Any]:
    """The rows of a MATLAB 5 file's variable: texts, or dicts of a struct's fields."""
    from scipy.io import loadmat

    try:
        cells = loadmat(path)[variable].ravel()
        if fields := cells.dtype.names:
            return [{name: cell[name].item() for name in fields} for cell in cells]
        return [cell.item() for cell in cells]
    except Exception as error:  # scipy has an exception of its own for each way in which such a file can be damaged
        raise CARS.damaged(path, error) from error
