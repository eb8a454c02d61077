"""Stamps, resuming, refusing: the chain on stages that only write files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import STAMP, files_below
from recipes.chain import Chain, Stage, claim_output, locked
from recipes.recipe import load_recipe

ROOT = Path(__file__).parents[2]


def first(recipe, out):
    with (out / "calls").open("a") as file:
        file.write("first\n")
    return {"rank": recipe.adapter.rank}


def train(recipe, out):
    with (out / "calls").open("a") as file:
        file.write("train\n")
    (out / "train").mkdir(exist_ok=True)
    done = out / "train" / "half"
    if not done.exists():
        done.write_text("half")
        if (out / "die").exists():
            os._exit(9)
    (out / "train" / "whole").write_text(done.read_text())
    return {}


def last(recipe, out):
    with (out / "calls").open("a") as file:
        file.write("last\n")
    if (out / "mistake").exists():
        raise MendableError("no good", "here", "mend it")
    return {}


STAGES = (
    Stage("first", first, ("model",), ()),
    Stage("train", train, ("adapter",), ("first",), ("train",), resumes=True),
    Stage("last", last, ("eval",), ("train",)),
)


@pytest.fixture
def recipe():
    return load_recipe(ROOT / "recipes" / "llava_vqa.yaml", "smoke")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{ROOT}")


def calls(out) -> str:
    text = (out / "calls").read_text()
    (out / "calls").unlink()
    return text.replace("\n", " ").strip()


def test_the_same_command_again_does_nothing_and_a_change_redoes_what_hangs_on_it(recipe, tmp_path):
    stamps = Chain(STAGES, recipe, tmp_path).run()
    assert calls(tmp_path) == "first train last"
    moments = [datetime.fromisoformat(stamps[name][key]) for name in stamps for key in ("started", "finished")]
    assert moments == sorted(moments) and all(moment.tzinfo for moment in moments)
    assert stamps["first"]["output"] == {"rank": 4} and stamps["train"]["peak_memory_mib"] > 0
    Chain(STAGES, recipe, tmp_path).run()
    assert not (tmp_path / "calls").exists()
    Chain(STAGES, replace(recipe, eval=replace(recipe.eval, limit=3)), tmp_path).run()
    assert calls(tmp_path) == "last"


def test_from_only_and_force(recipe, tmp_path):
    chain = Chain(STAGES, recipe, tmp_path)
    with pytest.raises(MendableError, match="needs stage first"):
        chain.run(only="train")
    chain.run()
    calls(tmp_path)
    chain.run(start="train")
    assert calls(tmp_path) == "train last"
    chain.run(only="train")
    assert calls(tmp_path) == "train"
    chain.run()
    assert calls(tmp_path) == "last", "what hangs on a stage that was done anew is done anew"
    chain.run(only="first")
    assert calls(tmp_path) == "first"
    chain.run(force=True)
    assert calls(tmp_path) == "first train last"
    with pytest.raises(MendableError, match="did you mean 'train'"):
        chain.run(start="trian")


def test_a_killed_stage_goes_on_with_what_it_left(recipe, tmp_path):
    claim_output(tmp_path)
    (tmp_path / "die").touch()
    with pytest.raises(MendableError, match="was killed"):
        Chain(STAGES, recipe, tmp_path).run()
    assert calls(tmp_path) == "first train"
    (tmp_path / "train" / "half").write_text("kept")
    (tmp_path / "die").unlink()
    Chain(STAGES, recipe, tmp_path).run()
    assert calls(tmp_path) == "train last"
    assert (tmp_path / "train" / "whole").read_text() == "kept"


def test_a_training_of_another_recipe_is_not_thrown_away(recipe, tmp_path):
    Chain(STAGES, recipe, tmp_path).run()
    other = replace(recipe, adapter=replace(recipe.adapter, rank=9))
    with pytest.raises(MendableError, match=r"adapter\.rank was 4, is 9"):
        Chain(STAGES, other, tmp_path).run()
    assert (tmp_path / "train" / "whole").exists()
    Chain(STAGES, other, tmp_path).run(force=True)
    assert Chain(STAGES, other, tmp_path).done("train")


def test_a_stage_whose_files_were_deleted_is_not_done(recipe, tmp_path):
    Chain(STAGES, recipe, tmp_path).run()
    calls(tmp_path)
    for path in (tmp_path / "train").iterdir():
        path.unlink()
    (tmp_path / "train").rmdir()
    Chain(STAGES, recipe, tmp_path).run()
    assert calls(tmp_path) == "train last"


def test_a_mistake_inside_a_stage_arrives_whole(recipe, tmp_path):
    claim_output(tmp_path)
    (tmp_path / "mistake").touch()
    with pytest.raises(MendableError) as caught:
        Chain(STAGES, recipe, tmp_path).run()
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("no good", "here", "mend it")


def test_a_second_process_is_refused_with_the_first_ones_pid(tmp_path):
    code = "import time\nfrom pathlib import Path\nfrom recipes.chain import locked\n"
    code += f"with locked(Path({str(tmp_path)!r})):\n"
    holder = subprocess.Popen([sys.executable, "-c", code + "    print('held', flush=True); time.sleep(60)"],
                              cwd=ROOT, stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(MendableError, match=f"process {holder.pid} is at work"), locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    for _ in range(50):  # the kernel gives the dead holder's lock back
        try:
            with locked(tmp_path):
                return
        except MendableError:
            time.sleep(0.1)
    pytest.fail("a killed process still holds the folder")


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in files_below(folder)}


def test_a_folder_with_other_things_is_refused_untouched(recipe, tmp_path):
    for name in ("train/mine.txt", "data/vqav2/rows.json", "merged/model.bin", ".stages/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    for options in ({}, {"force": True}, {"only": "first"}):
        with pytest.raises(MendableError, match="train") as caught:
            Chain(STAGES, recipe, tmp_path).run(**options)
        assert caught.value.where == str(tmp_path)
    assert contents(tmp_path) == before


def test_a_file_of_the_user_in_a_stages_place_is_not_removed(recipe, tmp_path):
    Chain(STAGES, recipe, tmp_path).run()
    (tmp_path / "train" / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    for options in ({"force": True}, {"start": "first"}, {"only": "train"}):
        with pytest.raises(MendableError, match=r"1 other: train/notes\.txt") as caught:
            Chain(STAGES, recipe, tmp_path).run(**options)
        assert caught.value.where == str(tmp_path) and "move" in caught.value.fix
    changed = {name for name in before if contents(tmp_path).get(name) != before[name]}
    assert not changed - {".lock"}, "checked before anything is done"
    Chain(STAGES, recipe, tmp_path).run(start="last")  # it is not in the way of this
    (tmp_path / "train" / "notes.txt").unlink()
    Chain(STAGES, recipe, tmp_path).run(force=True)


def test_a_file_that_lay_there_before_a_killed_stage_is_not_taken_for_its_own(recipe, tmp_path):
    Chain(STAGES, recipe, tmp_path).run()
    (tmp_path / "train" / "notes.txt").write_text("mine")
    code = "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); import test_chain as t\n"
    code += "recipe = t.load_recipe(t.ROOT / 'recipes' / 'llava_vqa.yaml', 'smoke')\n"
    code += "with t.Chain(t.STAGES, recipe, Path(sys.argv[1])).files.writing():\n"
    code += "    (Path(sys.argv[1]) / 'train' / 'late').write_text('ours'); os._exit(9)\n"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)], cwd=ROOT, check=False
    )
    assert done.returncode == 9
    with pytest.raises(MendableError, match=r"1 other: train/notes\.txt"):
        Chain(STAGES, recipe, tmp_path).run(force=True)
    (tmp_path / "train" / "notes.txt").unlink()
    Chain(STAGES, recipe, tmp_path).run(force=True)
    assert not (tmp_path / "train" / "late").exists()


def test_the_output_folder_of_an_earlier_version_is_accepted(recipe, tmp_path):
    Chain(STAGES, recipe, tmp_path).run()
    (tmp_path / STAMP).unlink()
    (tmp_path / ".stages" / "files.json").unlink()
    calls(tmp_path)
    Chain(STAGES, recipe, tmp_path).run(force=True)
    assert calls(tmp_path) == "first train last"


def test_a_linked_folder_in_a_stages_place_keeps_its_content(recipe, tmp_path):
    claim_output(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "checkpoint").write_text("mine")
    (tmp_path / "out" / "train").symlink_to(tmp_path / "mine")
    with pytest.raises(MendableError, match="1 other: train"):
        Chain(STAGES, recipe, tmp_path / "out").run()
    assert contents(tmp_path / "mine") == {"checkpoint": "mine"}
