"""The licence comes from the base's README, or from who is asked; it is never guessed."""

from __future__ import annotations

import pytest

from mlplora_vlm.errors import MendableError
from mlplora_vlm.licence import Licence, base_licence, inherited


@pytest.mark.parametrize(
    ("about", "wanted"),
    [
        ("license: apache-2.0", Licence("apache-2.0")),
        (
            "license: other\nlicense_name: my-own\nlicense_link: https://example.org/licence",
            Licence("other", "my-own", "https://example.org/licence"),
        ),
        ("license: other\nlicense_link: LICENSE", Licence("other")),
        ("language: en", None),
        ("license: [a, b]", None),
        ("license: ''", None),
    ],
)
def test_what_the_readme_says(tmp_path, about, wanted):
    (tmp_path / "README.md").write_text(f"---\n{about}\n---\n# a base\n")
    assert base_licence(str(tmp_path)) == wanted


def test_a_base_that_says_nothing(tmp_path):
    assert base_licence(str(tmp_path)) is None
    (tmp_path / "README.md").write_text("no metadata")
    assert base_licence(str(tmp_path)) is None
    (tmp_path / "README.md").write_text("---\n- a list\n---\n")
    with pytest.raises(MendableError, match="no readable metadata"):
        base_licence(str(tmp_path))


def test_inherited_or_asked_for_or_refused():
    assert inherited(Licence("gemma"), None, "") == inherited(Licence("gemma"), "gemma", "") == Licence("gemma")
    assert inherited(None, "mit", "") == Licence("mit")
    with pytest.raises(MendableError, match="names no licence, and none is guessed"):
        inherited(None, None, "")
    with pytest.raises(MendableError, match=r"under gemma, and publish\.licence says mit"):
        inherited(Licence("gemma"), "mit", "")
