"""``python -m recipes lmms-eval``: the command line for each family, printed, or run where lmms-eval is."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys

import pytest

from eval_harness.lmms_eval import lmms_command
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import known_families
from recipes.__main__ import main

OWN = {
    "llava": "llava_hf",
    "llava_next": "llava_hf",
    "llava_onevision": "llava_hf",
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "qwen3_5": "qwen3_5",
    "internvl": "internvl_hf",
    "gemma3": "gemma3",
    "mllama": "llama_vision",
}
"""Families that a model of lmms-eval 0.7.3 names itself; its generic model reads the others."""


@pytest.fixture
def merged(tmp_path):
    def of(model_type):
        (tmp_path / "merged").mkdir(exist_ok=True)
        (tmp_path / "merged/config.json").write_text(json.dumps({"model_type": model_type}))
        return tmp_path / "merged"

    return of


@pytest.mark.parametrize("family", sorted(known_families()))
def test_every_family_has_a_model_of_lmms_eval(merged, family):
    words = lmms_command(merged(family), ["pope"], "python", merged(family) / "log")
    assert words[words.index("--model") + 1] == OWN.get(family, "huggingface")
    assert set(OWN) <= set(known_families())


def test_command_is_printed_word_by_word(merged, tmp_path, capsys):
    folder = merged("llava")
    assert main(["lmms-eval", str(folder), "--tasks", "vqav2_val, pope", "--python", "py", "--out", "log"]) == 0
    assert shlex.split(capsys.readouterr().out) == [
        *("py", "-m", "lmms_eval", "--model", "llava_hf", "--model_args", f"pretrained={folder}"),
        *("--tasks", "vqav2_val,pope", "--batch_size", "1", "--log_samples", "--output_path", "log"),
    ]
    words = ["--tasks", "mine", "--include", str(tmp_path), "--device", "cpu", "--batch-size", "4"]
    assert main(["lmms-eval", str(folder), *words]) == 0
    said = shlex.split(capsys.readouterr().out)
    assert said[0] == sys.executable and f"pretrained={folder},device_map=cpu" in said
    assert said[said.index("--include_path") + 1] == str(tmp_path) and said[said.index("--device") + 1] == "cpu"
    assert said[said.index("--batch_size") + 1] == "4"


def test_it_is_run_where_it_is_and_its_exit_code_is_ours(merged, tmp_path, capsys):
    pretender = tmp_path / "python"
    pretender.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$@" > {tmp_path}/ran\nexit 7\n')
    pretender.chmod(pretender.stat().st_mode | stat.S_IXUSR)
    words = ["lmms-eval", str(merged("llava")), "--tasks", "pope", "--run", "--python"]
    assert main([*words, str(pretender)]) == 7
    assert (tmp_path / "ran").read_text().startswith("-m lmms_eval --model llava_hf")
    log = tmp_path / "log"
    pretender.write_text("#!/bin/sh\nexit 0\n")  # as lmms-eval does after an error
    assert main([*words, str(pretender), "--out", str(log)]) == 1 and "left no results" in capsys.readouterr().out
    (log / "merged").mkdir(parents=True)
    (log / "merged/old_results.json").write_text("{}")
    os.utime(log / "merged/old_results.json", (1, 1))
    assert main([*words, str(pretender), "--out", str(log)]) == 1
    pretender.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho {{}} > {log}/merged/new_results.json\n')
    assert main([*words, str(pretender), "--out", str(log)]) == 0 and "new_results.json" in capsys.readouterr().out
    pretender.write_text("#!/bin/sh\nexit 1\n")
    assert main([*words, str(pretender)]) == 2 and "pip install lmms-eval" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "nowhere")]) == 2


def test_what_is_no_merged_model_is_refused(merged, tmp_path):
    for name, said in (("adapter_config.json", "this is an adapter"), ("other.json", "holds no model")):
        folder = tmp_path / name.removesuffix(".json")
        folder.mkdir()
        (folder / name).write_text("{}")
        with pytest.raises(MendableError, match=said):
            lmms_command(folder, ["pope"], "python", tmp_path)
    odd = merged("llava").rename(tmp_path / "rank=8,merged")
    with pytest.raises(MendableError, match="cuts its arguments"):
        lmms_command(odd, ["pope"], "python", tmp_path)
    with pytest.raises(MendableError, match="takes no precision"):
        lmms_command(merged("qwen2_vl"), ["pope"], "python", tmp_path, exact=True)
    with pytest.raises(MendableError, match="no family card"):
        lmms_command(merged("bert"), ["pope"], "python", tmp_path)
