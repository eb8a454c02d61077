"""Output folders: what this project did not write is never removed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import (
    STAMP,
    check_claimable,
    claim_folder,
    emptied_folder,
    files_below,
    replaced_folder,
    write_json,
)


def content(folder):
    return {name: (folder / name).read_text() for name in files_below(folder)}


def test_a_new_an_empty_and_a_stamped_folder_are_claimed(tmp_path):
    for folder in (tmp_path / "new" / "deep", tmp_path / "empty"):
        claim_folder(folder)
        (folder / "result").write_text("first run")
        claim_folder(folder)
        assert set(content(folder)) == {STAMP, "result"}


def test_a_folder_with_other_content_is_refused_untouched(tmp_path):
    (tmp_path / "data" / "vqav2").mkdir(parents=True)
    (tmp_path / "data" / "vqav2" / "rows.json").write_text("[]")
    for use in (check_claimable, claim_folder, emptied_folder):
        with pytest.raises(MendableError, match="data") as caught:
            use(tmp_path, ".stages/*.json")
        assert caught.value.where == str(tmp_path)
    assert content(tmp_path) == {"data/vqav2/rows.json": "[]"}


def test_what_an_earlier_version_left_is_proof_too(tmp_path):
    (tmp_path / ".stages").mkdir()
    (tmp_path / ".stages" / "train.json").write_text("{}")
    claim_folder(tmp_path, ".stages/*.json")
    assert (tmp_path / STAMP).is_file()


def test_a_file_in_the_place_of_the_folder_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MendableError) as caught:
            claim_folder(folder)
        assert caught.value.where == str(folder)
    assert content(tmp_path) == {"file": "mine"}


def test_an_emptied_folder_keeps_its_stamp_and_what_its_links_lead_to(tmp_path):
    claim_folder(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "out" / "old").mkdir()
    emptied_folder(tmp_path / "out")
    assert files_below(tmp_path / "out") == {STAMP} and content(tmp_path / "mine") == {"file": "mine"}


@pytest.mark.parametrize("existing", ["folder", "file", "link"])
def test_only_an_empty_folder_is_replaced(tmp_path, existing):
    out = tmp_path / "out"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "weights").write_text("mine")
    if existing == "link":
        out.symlink_to(tmp_path / "mine")
    elif existing == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "weights").write_text("mine")
    before = content(tmp_path) if existing != "link" else content(tmp_path / "mine")
    with pytest.raises(MendableError, match="1 other"), replaced_folder(out):
        pytest.fail("the work began")
    assert before == (content(tmp_path) if existing != "link" else content(tmp_path / "mine"))
    with replaced_folder(tmp_path / "new") as part:
        (part / "weights").write_text("made")
    assert content(tmp_path / "new") == {"weights": "made"}


def test_a_failed_replacement_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "ours").write_text("before")
    with pytest.raises(KeyboardInterrupt), replaced_folder(out, {"ours"}) as part:
        (part / "ours").write_text("half")
        raise KeyboardInterrupt
    assert content(tmp_path) == {"out/ours": "before"}


def test_json_has_null_for_what_is_not_finite_and_no_text_for_what_it_cannot_hold(tmp_path):
    path = tmp_path / "a" / "value.json"
    value = {"loss": [1.5, float("nan"), float("inf"), (-float("inf"), None)], "step": 3, "name": "é"}
    write_json(path, value)

    def refuse(constant):
        pytest.fail(f"{constant} is no JSON")

    found = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert found == {"loss": [1.5, None, None, [None, None]], "step": 3, "name": "é"}
    for unknown in (object(), tmp_path, {1, 2}, torch.float32, np.float32(1)):
        with pytest.raises(TypeError):
            write_json(path, {"value": [unknown]})
    assert json.loads(path.read_text("utf-8")) == found and files_below(tmp_path) == {"a/value.json"}
