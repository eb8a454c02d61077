"""The generated tables: right numbers, stale files found, the text around them left alone."""

from __future__ import annotations

import json
import re

import pytest

from eval_harness.tasks import TASKS
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import known_families
from recipes import family_table, readme, task_table

AROUND = "# Title\n\n<!-- {0}:begin -->\n<!-- {0}:end -->\n\nThe rest.\n"
LIST = "\n<!-- recipe-list:begin -->\n<!-- recipe-list:end -->\n\nThe rest.\n"


def result(generated, learning_rate, free):
    def cells(overall, answer):
        return {
            "overall": {"score": overall, "low": overall - 0.02, "high": overall + 0.02, "n": 1000},
            "open": {"score": answer, "low": answer - 0.03, "high": answer + 0.03, "n": 500},
        }

    return {
        "recipe": {
            "name": "llava_vqa",
            "preset": "demo",
            "resolved": {
                "model": {"id": "demo/llava-smollm2-135m"},
                "adapter": {"kind": "lora", "generated": generated},
                "train": {"learning_rate": learning_rate},
                "eval": {"judge": "open"},
            },
        },
        "adapted_layers": {"language": 210, "projector": 2},
        "training": {"steps": 120, "final_loss": 0.2113},
        "scores": {
            "before": {"scores": cells(0.078, 0.052)},
            "after": {"scores": cells(0.948, free), "controls": {"prior": cells(0.528, 0.232)}},
        },
        "verify": {"collapse_error": 1.3e-7, "merge_error": 4.4e-7},
    }


@pytest.fixture
def root(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "docs/demo/compared").mkdir(parents=True)
    (tmp_path / "README.md").write_text(AROUND.format("demo-result") + LIST)
    (tmp_path / "recipes/README.md").write_text(AROUND.format("recipes"))
    (tmp_path / "docs/parity").mkdir()
    (tmp_path / "docs/parity.md").write_text(AROUND.format("parity"))
    (tmp_path / "docs/families.md").write_text(AROUND.format("families") + AROUND.format("vllm"))
    (tmp_path / "docs/data.md").write_text(AROUND.format("sources"))
    (tmp_path / "docs/publish.md").write_text(AROUND.format("card"))
    (tmp_path / "docs/downloads.md").write_text(AROUND.format("sets") + AROUND.format("files"))
    (tmp_path / "docs/tasks.md").write_text(AROUND.format("tasks"))
    (tmp_path / "docs/rehearsal.md").write_text(AROUND.format("rehearsal"))
    runs = [
        {"engine": "ZeRO 2", "precision": "fp32", "processes": n, "errors": {"adamw": 1e-6 * n, **more}}
        for n, more in ((1, {}), (2, {"resumed": 0.0}))
    ]
    (tmp_path / readme.PARITY).write_text(json.dumps({"runs": runs}))
    whole = (readme.ROOT / "recipes/llava_vqa.yaml").read_text()
    (tmp_path / "recipes/llava_vqa.yaml").write_text(whole[: whole.index("  lora-80gb:")])  # smoke and demo: quick
    (tmp_path / readme.RESULT).write_text(json.dumps(result(True, 3e-4, 0.942)))
    return tmp_path


def test_tables_are_written_once_and_then_found_fresh(root):
    names = ("parity", "families", "data", "publish", "downloads", "tasks", "rehearsal")
    pages = [root / "docs" / f"{name}.md" for name in names]
    files = [root / "README.md", root / "recipes/README.md", *pages]
    assert readme.update(root, check=True) == files
    assert files[0].read_text() == AROUND.format("demo-result") + LIST
    assert readme.update(root) == files
    assert readme.update(root, check=True) == []
    for file in files:
        assert file.read_text().startswith("# Title\n") and file.read_text().endswith("\n\nThe rest.\n")


def test_parity_table_has_a_row_an_engine_and_number_of_processes(root):
    assert readme.parity_table(root).splitlines()[-2:] == ["| ZeRO 2 | 1 | 1e-6 | – |", "| ZeRO 2 | 2 | 2e-6 | 0 |"]


def test_family_table_says_what_was_proven_and_what_was_not(root):
    (root / "docs/families").mkdir()
    proofs = {"attach": True, "merge": False}
    found = {"llava": {"class": "LlavaForConditionalGeneration", "proofs": proofs}}
    (root / family_table.RESULT).write_text(json.dumps({"transformers": "5.0", "families": found}))
    heads, rows = family_table.proof_table(root)
    row = dict(zip(heads, next(row for row in rows if row[1] == "`llava`"), strict=True))
    assert row["class in transformers 5.0"] == "`LlavaForConditionalGeneration`"
    assert (row["attach"], row["merge"], row["train"]) == ("✓", "**fails**", "not run")
    assert len(rows) == len(known_families()) and {len(row) for row in rows} == {len(heads)}


def test_changed_result_makes_the_readme_stale(root):
    readme.update(root)
    (root / readme.RESULT).write_text(json.dumps(result(True, 3e-4, 0.931)))
    assert root / "README.md" in readme.update(root, check=True)


def test_result_table_holds_the_scores_and_the_proof(root):
    lines = readme.result_table(root).replace("\u00a0", " ").splitlines()
    assert lines[0] == "|  | overall, N = 1,000 | open, N = 500 |"
    assert "| **after** | 94.8 % (92.8–96.8) | 94.2 % (91.2–97.2) |" in lines
    assert "| answer prior | 52.8 % (50.8–54.8) | 23.2 % (20.2–26.2) |" in lines
    assert "adapted layers: 210 language, 2 projector; error of collapse 1.3e-7, of merge 4.4e-7" in lines[-1]


def test_other_methods_stand_beside_the_demo(root):
    for name, rate in (("same-rate", 3e-4), ("own-rate", 1e-3)):
        (root / readme.COMPARED / f"{name}.json").write_text(json.dumps(result(False, rate, 0.913)))
    table = readme.result_table(root).replace("\u00a0", " ")
    assert "| OP-LoRA | 3e-4 | 120 | 0.211 | 94.2 % (91.2–97.2) | 94.8 % (92.8–96.8) |" in table
    assert "| LoRA | 1e-3 | 120 | 0.211 | 91.3 % (88.3–94.3) | 94.8 % (92.8–96.8) |" in table


def test_every_preset_has_a_row_with_its_estimate_and_only_what_was_measured_a_score(root):
    table = readme.recipe_table(root).replace("\u00a0", " ")
    heads, _, smoke, demo, quantized = table.splitlines()
    assert "memory needed (estimate)" in heads
    assert smoke.startswith("| llava_vqa | `smoke` | `demo/tiny-llava` | shapes | OP-LoRA, rank 4 | CPU, 4 GiB | 2 |")
    assert re.search(r"\| 1 GiB \| – \|$", smoke)
    assert "| llava_vqa | `demo` |" in demo and re.search(r"\| \d GiB \| open 94.2 % \|$", demo)
    assert "| llava_vqa | `demo-qlora` |" in quantized and re.search(r"\| \d GiB \| – \|$", quantized)
    four_bit = result(True, 3e-4, 0.931)
    four_bit["recipe"]["preset"] = "demo-qlora"
    four_bit["recipe"]["resolved"]["model"]["quantization"] = "nf4"
    (root / readme.COMPARED / "qlora.json").write_text(json.dumps(four_bit))
    *_, demo, quantized = readme.recipe_table(root).replace("\u00a0", " ").splitlines()
    assert demo.endswith("| open 94.2 % |") and quantized.endswith("| open 93.1 % |")
    assert "| OP-LoRA, NF4 base | 3e-4 |" in readme.result_table(root).replace("\u00a0", " ")


def test_what_was_learnt_by_heart_is_no_score(root):
    smoke = result(True, 1e-3, 0.942)
    smoke["recipe"]["preset"] = "smoke"
    smoke["scores"]["after"]["by_heart"] = True
    (root / readme.RESULT).write_text(json.dumps(smoke))
    assert "%" not in readme.recipe_table(root)


def test_every_recipe_is_listed_with_what_it_does(root):
    assert readme.recipe_list(root).splitlines()[2:] == [
        "| [llava_vqa](recipes/llava_vqa.yaml) | LLaVA-1.5-7B answers questions about photographs (VQAv2) |"
    ]


def test_without_a_result_the_table_says_so(root):
    (root / readme.RESULT).unlink()
    assert readme.result_table(root) == readme.NO_RESULT


@pytest.mark.parametrize(
    "text", ["", "<!-- t:end --><!-- t:begin -->", "<!-- t:begin --><!-- t:begin --><!-- t:end -->"]
)
def test_file_without_a_place_is_refused(tmp_path, text):
    with pytest.raises(MendableError, match="no place"):
        readme.replaced(text, "t", "table", tmp_path)


def test_every_task_has_a_row_and_every_remark_a_task():
    heads, rows = task_table.task_table()
    assert [row[0] for row in rows] == [f"`{name}`" for name in sorted(TASKS)] and {len(row) for row in rows} == {10}
    assert task_table.REFERENCES.keys() | task_table.SPECIAL.keys() <= TASKS.keys()
    row = dict(zip(heads, next(row for row in rows if row[0] == "`textvqa_val_ocr`"), strict=True))
    assert row["LLaVA-1.5-7B"] == "58.2" and row["version"] == str(TASKS["textvqa_val_ocr"].version)


def test_cell_cannot_break_the_table():
    assert readme.markdown(["a|b"], [["c\nd"]]).splitlines() == ["| a\\|b |", "| --- |", "| c d |"]
