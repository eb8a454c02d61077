"""Questions in the form of the Document VQA challenges, DocVQA's and InfographicVQA's: several answers count as right.

Under ``data`` each row has ``questionId``, ``question``, ``answers`` and its picture's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_prep.example import Example
from data_prep.fields import field, texts
from data_prep.official import Official
from data_prep.rows import Row, each


def document_rows(
    official: Official, path: Path, name: str, category: str, picture: Callable[[Any, str], Path]
) -> Iterator[Row]:
    """The file's questions in its order; any of the answers counts as right, and the first is taught.

    ``name`` is what ids begin with; ``picture`` is given the row and where it stands.
    """

    def example(row: Any, where: str) -> Example:
        answers = texts(row, "answers", where)
        return Example(
            id=f"{name}/{field(row, 'questionId', int, where)}",
            images=(picture(row, where),),
            question=field(row, "question", str, where),
            answer=answers[0],
            references=answers,
            category=category,
        )

    return each(official.rows(path, "data"), example)
