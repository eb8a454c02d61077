"""MLPLORA_DEBUG=1 shows where an error of the user came from; without it there is no traceback."""

from __future__ import annotations

import pytest

from mlplora_vlm.errors import MendableError
from recipes.__main__ import main
from recipes.verbs import plan


@pytest.mark.parametrize(("debug", "shown"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_the_traceback_and_the_cause_are_shown_where_they_are_asked_for(debug, shown, monkeypatch, capsys):
    def fail(given):
        try:
            {}["a key"]
        except KeyError as error:
            raise MendableError("expected a disk, got none", "here", "buy one") from error

    monkeypatch.setattr(plan, "run", fail)
    monkeypatch.delenv("MLPLORA_DEBUG", raising=False)
    if debug is not None:
        monkeypatch.setenv("MLPLORA_DEBUG", debug)
    assert main(["plan", "recipes/llava_vqa.yaml"]) == 2
    said = capsys.readouterr().err
    assert ("Traceback" in said) == ("KeyError" in said) == shown
    assert said.rstrip().endswith("expected a disk, got none\n  at:  here\n  fix: buy one")
