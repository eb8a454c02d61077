"""The whole chain through the shell script: its output, its proofs, killed and resumed, and its variants."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.smoke import by_heart
from recipes.stages import STAGES

ROOT = Path(__file__).parents[2]
OUTPUT = {"adapter", "data", "eval", "merged", "report.html", "resolved.yaml", "result.json", "run.log", "train"}
QUICK = (
    *("train.max_steps=8", "train.batch_size=4", "train.save_steps=4", "train.schedule=cosine"),
    *("data.split=train", "eval.task=shapes_test", "eval.limit=16", "eval.batch_size=8"),
)
"""Too few steps to learn anything by heart, on rows of which some can be held back."""
ADAPTER = "adapter_model.safetensors"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    return os.environ | {
        "MLPLORA_PYTHON": sys.executable,
        "MLPLORA_CACHE": str(tmp_path_factory.mktemp("cache")),
        "PRESET": "smoke",
        "HF_HUB_OFFLINE": "1",
    }


def run(environment, out, *arguments, expect=0, first=QUICK):
    done = subprocess.run(
        ["bash", "recipes/llava_vqa.sh", *first, *arguments],
        cwd=ROOT, env=environment | {"OUT": str(out)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def smoke(environment, tmp_path_factory):
    """(output folder, what was printed) of the plain smoke run."""
    out = tmp_path_factory.mktemp("smoke") / "out"
    return out, run(environment, out)


def adapter_of(out):
    from safetensors.torch import load_file

    return load_file(out / "adapter" / ADAPTER)


def result_of(out):
    return json.loads((out / "result.json").read_text())


def test_the_preset_as_it_stands_learns_its_pictures_by_heart(environment, tmp_path):
    out = tmp_path / "out"
    printed = run(environment, out, first=())
    assert "By heart: 16 of 16" in printed and "no score" in printed
    assert by_heart(result_of(out)) and result_of(out)["verify"]["merge_error"] <= 1e-5


def test_output_folder_is_exactly_what_the_docs_list(smoke):
    out, printed = smoke
    assert printed.startswith("preset smoke")
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == OUTPUT
    processor = {"chat_template.jinja", "processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    adapter = {"adapter_config.json", "adapter_model.safetensors"}
    merged = {"config.json", "generation_config.json", "model.safetensors"}
    assert {path.name for path in (out / "adapter").iterdir()} == adapter | processor
    assert {path.name for path in (out / "merged").iterdir()} == merged | processor
    log = (out / "run.log").read_text()
    assert "[verify] done" in log and "\r" not in log


def test_result_says_what_was_done(smoke):
    result = result_of(smoke[0])
    assert result["adapted_layers"] == {"language": 14, "projector": 2}
    assert result["verdict"]["status"] == "not judged"
    assert result["training"]["steps"] == 8 and len([e for e in result["training"]["log"] if "loss" in e]) == 8
    assert result["verify"]["collapse_error"] <= 1e-5 and result["verify"]["merge_error"] <= 1e-5
    assert result["verify"]["answers"]["different"] == 0
    assert set(result["scores"]["after"]["controls"]) == {"blank", "shuffled", "prior"}
    assert list(result["seconds"]) == [stage.name for stage in STAGES if stage.name not in ("report", "publish")]


def test_stock_libraries_load_it_without_the_project(smoke, environment, tmp_path):
    """In fp32 logits to 1e-5, and the very answers that the evaluation recorded."""
    from data_prep.collate import PromptCollator
    from data_prep.images import open_image
    from eval_harness.predictions import read_rows
    from eval_harness.tasks import TASKS, task_examples
    from mlplora_vlm.load import ModelSection, load_processor

    out, _ = smoke
    rows = {row["id"]: row for row in read_rows(out / "eval" / "after" / "predictions.jsonl")}
    examples = task_examples(TASKS["shapes_test"].rows_of("test", None), rows)
    text = PromptCollator(load_processor(out / "merged", ModelSection(id="merged")), "short_answer").text
    prompts = []
    for number, example in enumerate(examples):
        open_image(example.images[0]).save(tmp_path / f"{number}.png")
        prompts.append((text(example), str(tmp_path / f"{number}.png")))
    (out.parent / "prompts.json").write_text(json.dumps(prompts))
    base = str(Path(environment["MLPLORA_CACHE"]) / "tiny-llava")
    script = Path(__file__).with_name("stock_process.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", str(script), str(out), base, str(tmp_path / "found.json")]
    subprocess.run(command, cwd=tmp_path, env=environment | {"HF_HUB_OFFLINE": "1"}, check=True, timeout=300)
    found = json.loads((tmp_path / "found.json").read_text())
    assert max(found["errors"].values()) <= 1e-5, found["errors"]
    wanted = [rows[example.id]["prediction"] for example in examples]
    assert found["answers"] == {"adapter": wanted, "merged": wanted}


def test_the_same_command_again_does_nothing(smoke, environment):
    out, _ = smoke
    before = {path: path.stat().st_mtime_ns for path in (out / "merged").iterdir()}
    printed = run(environment, out)
    assert printed.count("done before") == len(STAGES)
    assert {path: path.stat().st_mtime_ns for path in (out / "merged").iterdir()} == before


def test_a_killed_training_goes_on_and_ends_the_same(smoke, environment, tmp_path):
    import torch

    out = tmp_path / "out"
    started = subprocess.Popen(
        ["bash", "recipes/llava_vqa.sh", *QUICK],
        cwd=ROOT, env=environment | {"OUT": str(out)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 300
    while not (out / "train" / "checkpoint-4" / "trainer_state.json").exists():
        assert time.monotonic() < until and started.poll() is None
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGKILL)
    subprocess.run(["pkill", "-9", "-f", str(out)], check=False)  # torchrun's workers have a session of their own
    started.wait()
    assert not (out / "train" / "training.json").exists(), "killed too late to show anything"
    printed = run(environment, out)
    assert "[before] done before" in printed and "[train] goes on" in printed and "checkpoint-4" in printed
    wanted, got = adapter_of(smoke[0]), adapter_of(out)
    assert wanted.keys() == got.keys() and all(torch.equal(wanted[name], got[name]) for name in wanted)


def test_a_training_killed_after_its_last_step_takes_no_further_one(environment, tmp_path):
    import torch

    out, constant = tmp_path / "out", "train.schedule=constant_with_warmup"  # a learning rate that never reaches 0
    run(environment, out, constant)
    wanted = adapter_of(out)
    for name in (".stages/train.json", "train/training.json", "train/adapter/adapter_model.safetensors"):
        (out / name).unlink()
    printed = run(environment, out, constant)
    assert "[train] goes on" in printed and result_of(out)["training"]["steps"] == 8
    got = adapter_of(out)
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)


def test_zero_3_on_two_processes_with_evaluation_best_checkpoint_and_tracker(environment, tmp_path):
    out = tmp_path / "out"
    run(
        environment, out, "train.zero_stage=3", "train.processes=2", "train.batch_size=2", "train.eval_steps=4",
        "train.eval_rows=8", "train.keep_best=true", "train.report_to=[tensorboard]",
        "train.gradient_checkpointing=true",
    )  # fmt: skip
    result = result_of(out)
    assert [entry["step"] for entry in result["training"]["log"] if "eval_loss" in entry] == [4, 8]
    assert result["training"]["best_checkpoint"] in ("checkpoint-4", "checkpoint-8")
    assert result["verify"]["merge_error"] <= 1e-5
    assert list(out.rglob("events.out.tfevents*"))
    collapsed, checkpoint = tmp_path / "collapsed", out / "train" / result["training"]["best_checkpoint"]
    words = ["collapse", str(checkpoint), "--out", str(collapsed), "--keep-generator"]
    subprocess.run([sys.executable, "-m", "recipes", *words], cwd=ROOT, env=environment, check=True)
    assert (collapsed / ADAPTER).read_bytes() == (out / "adapter" / ADAPTER).read_bytes()
    assert len(list(tmp_path.glob("collapsed-generator/optimizer-*-of-00002.safetensors"))) == 2


def test_two_nodes_train_together_and_node_0_does_the_rest(environment, tmp_path):
    out = tmp_path / "out"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    mine, its = environment | meeting | {"NODE_RANK": "0"}, environment | meeting | {"NODE_RANK": "1", "OUT": str(out)}
    for train, other_says in (("[train] done in", "waiting for node 0"), ("[train] done before", "no training")):
        other = subprocess.Popen(
            ["bash", "recipes/llava_vqa.sh", *QUICK], cwd=ROOT, env=its, stdout=subprocess.PIPE, text=True
        )
        try:
            assert train in run(mine, out)
            assert other_says in other.communicate(timeout=60)[0] and other.returncode == 0
        finally:
            other.kill()
    result = result_of(out)
    assert result["training"]["processes"] == 2 and result["verify"]["merge_error"] <= 1e-5
    assert result["recipe"]["command"].startswith("NNODES=2 NODE_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=")


def test_four_bit_base_and_eight_bit_states(environment, tmp_path):
    out = tmp_path / "out"
    run(environment, out, "model.quantization=nf4", "adapter.generator.states=8bit")
    assert result_of(out)["verify"]["merge_error"] <= 1e-5


def test_bfloat16_and_a_model_that_does_not_look(environment, tmp_path):
    out = tmp_path / "out"
    printed = run(environment, out, "model.dtype=bfloat16", "eval.judge=open", "train.max_steps=120", expect=1)
    result = result_of(out)
    assert result["verify"]["dtype"] == "bfloat16"
    assert result["verify"]["merge_error"] <= result["verify"]["merge_bound"]
    answers = result["verify"]["answers"]
    assert answers["explained"] == answers["different"] and answers["chance"] >= 1e-3
    assert "not shown to look" in printed


def test_plain_lora_runs_the_same_chain(environment, tmp_path):
    out = tmp_path / "out"
    run(environment, out, "adapter.generated=false")
    result = result_of(out)
    assert result["parameters"]["generator"] == 0 and result["verify"]["merge_error"] <= 1e-5


def test_generated_dora_beside_a_projector_in_full_under_zero_3(environment, tmp_path):
    out = tmp_path / "out"
    run(
        environment, out, "adapter.kind=dora", "adapter.on=[language]", "adapter.full=[projector]",
        "train.full_learning_rate=1e-3", "train.zero_stage=3", "train.processes=2", "train.batch_size=2",
        "eval.controls=[]", "eval.limit=4",
    )  # fmt: skip
    result = result_of(out)
    assert result["adapted_layers"] == {"language": 14} and result["parameters"]["full"] > 0
    assert result["collapse"]["parameters"] == result["parameters"]["trained"] + result["parameters"]["full"]
    assert result["verify"]["collapse_error"] <= 1e-5 and result["verify"]["merge_error"] <= 1e-5
    adapter = adapter_of(out)
    for ending in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"):
        assert sum(name.endswith(ending) for name in adapter) == 14
    full = {name.rpartition("projector.")[2] for name in adapter if "multi_modal_projector" in name}
    assert full == {f"linear_{n}.{part}" for n in (1, 2) for part in ("weight", "bias")}


def test_another_runs_adapter_is_gone_on_from(smoke, environment, tmp_path):
    folder = smoke[0] / "adapter"
    run(environment, tmp_path / "out", f"adapter.init_from={folder}", "eval.controls=[]", "eval.limit=4")
    result, first = result_of(tmp_path / "out"), result_of(smoke[0])
    assert result["verify"]["merge_error"] <= 1e-5
    losses = [[entry["loss"] for entry in run["training"]["log"] if "loss" in entry] for run in (first, result)]
    assert losses[1][0] < losses[0][0], "it begins with what the other run learnt"


def test_pissa_goes_on_from_its_own_start_alone_and_leaves_a_lora(environment, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    out, quick = tmp_path / "out", ("eval.controls=[]", "eval.limit=4")
    run(environment, out, "adapter.kind=pissa", *quick)
    assert result_of(out)["verify"]["merge_error"] <= 1e-5
    wanted, config = adapter_of(out), json.loads((out / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (8, 16, True)
    for name in (".stages/train.json", "train/training.json", "train/adapter/adapter_model.safetensors"):
        (out / name).unlink()
    assert "checkpoint-8" in run(environment, out, "adapter.kind=pissa", *quick)
    got = adapter_of(out)
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    (out / ".stages" / "train.json").unlink()
    start = load_file(out / "train" / "start.safetensors")
    save_file({name: 1.1 * tensor for name, tensor in start.items()}, out / "train" / "start.safetensors")
    printed = run(environment, out, "adapter.kind=pissa", *quick, expect=2)
    assert "not the one that this training began with" in printed and "Traceback" not in printed


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_before_training_is_named_without_a_traceback(environment, tmp_path, workers):
    """One that is broken when the rows are checked is left out, and counted; this one breaks after that."""
    from PIL import Image

    (tmp_path / "train2014").mkdir()
    questions, annotations = [], []
    for number in range(8):
        path = tmp_path / "train2014" / f"COCO_train2014_{number:012d}.jpg"
        Image.effect_noise((64, 48), 90).convert("RGB").save(path)
        questions.append({"image_id": number, "question": "what is this?", "question_id": number})
        answers = [{"answer": "noise", "answer_confidence": "yes", "answer_id": n} for n in range(1, 11)]
        common = {"question_id": number, "image_id": number, "answer_type": "other", "question_type": "what is"}
        annotations.append(common | {"multiple_choice_answer": "noise", "answers": answers})
    for name, rows in (("v2_OpenEnded_mscoco_train2014_questions", {"questions": questions}),
                       ("v2_mscoco_train2014_annotations", {"annotations": annotations})):  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    words = ("data.source=vqav2", f"data.folder={tmp_path}", f"train.workers={workers}")
    run(environment, tmp_path / "out", *words, "--only", "prepare")
    path.write_bytes(path.read_bytes()[:-700])
    printed = run(environment, tmp_path / "out", *words, expect=2)
    assert "[prepare] done before" in printed and "Traceback" not in printed
    assert path.name in printed and "training ended with exit code 2" in printed
