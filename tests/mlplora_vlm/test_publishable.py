"""What may leave this machine in a model's folder: a list of names, and a look at what is inside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mlplora_vlm.errors import MendableError, MendableErrors
from mlplora_vlm.publishable import check_folder

WEIGHTS = {"model.layers.0.self_attn.q_proj.weight": torch.ones(2, 2)}


@pytest.fixture
def merged(tmp_path):
    folder = tmp_path / "run" / "merged"
    folder.mkdir(parents=True)
    save_file(WEIGHTS, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "generation_config.json", "processor_config.json", "tokenizer_config.json"):
        (folder / name).write_text('{"model_type": "llava", "eos_token": "</s>", "think": "/no_think"}')
    tokenizer = {"model": {"vocab": {"/home/user/": 0, "hf_abcdefghijklmnopqrstuvwxyz": 1}, "merges": ["/tmp/ x"]}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    (folder / "README.md").write_text("# a model\n\nsee https://huggingface.co/home/user\n")
    return folder


def test_a_model_goes_with_sizes(merged):
    files = check_folder(merged, "merged")
    assert {file.path: file.bytes for file in files} == {path.name: path.stat().st_size for path in merged.iterdir()}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("optimizer.pt", "pickled"),
        ("pytorch_model.bin", "pickled"),
        ("training_args.bin", "pickled"),
        ("weights.pkl", "pickled"),
        ("optimizer.safetensors", "training states"),
        ("generator.safetensors", "training states"),
        ("trainer_state.json", "training states"),
        (".env", "hidden"),
        (".git/config", "hidden"),
        ("modeling.py", "code"),
        ("run.log", "records of the run"),
        ("predictions.jsonl", "records of the run"),
        ("adapter_model.safetensors", "on no list"),
        ("model-1/a-of-00002.safetensors", "on no list"),
        ("README.md/x", "on no list"),
        ("model.safetensors ", "on no list"),
        ("CONFIG.JSON", "on no list"),
    ],
)
def test_what_is_on_no_list_is_refused_with_the_reason(merged, name, why):
    path = merged / name
    if path.parent.is_file():
        path.parent.unlink()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(MendableErrors, match=f"is unexpected: .*{why}"):
        check_folder(merged, "merged")


def test_links_and_pipes_are_refused(merged, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (merged / "config.json").unlink()
    (merged / "config.json").symlink_to(tmp_path / "secret.json")
    os.mkfifo(merged / "vocab.json")
    with pytest.raises(MendableErrors, match="is a link") as caught:
        check_folder(merged, "merged")
    assert "vocab.json is no plain file" in str(caught.value)


SECRETS = [
    "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "ghp_" + "a1B2" * 9,
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "sk-proj-" + "abcDEF123" * 4,
    "xoxb-" + "1234567890-abcdefgh",
    "-----BEGIN RSA " + "PRIVATE KEY-----",
    "https://user:pass" + "word@example.org/x",
]


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "README.md", "tokenizer.json"])
@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_found_and_not_repeated(merged, name, secret):
    path = merged / name
    text = json.dumps({"note": f"x {secret} y"}) if name.endswith(".json") else f"a line\nwith {secret}\n"
    path.write_text(text)
    with pytest.raises(MendableErrors, match="the file holds") as caught:
        check_folder(merged, "merged")
    assert secret not in str(caught.value)


def test_words_of_the_client_are_no_secret(merged):
    (merged / "README.md").write_text("`hf_hub_download_with_a_long_name`, task-specific-instruction-following-model")
    assert check_folder(merged, "merged")


def test_the_own_token_is_found_wherever_it_stands(merged):
    own = "unlike-any-other-token"
    (merged / "vocab.json").write_text(json.dumps({own: 3}))
    with pytest.raises(MendableErrors, match="your access token") as caught:
        check_folder(merged, "merged", secrets=[own, ""])
    assert own not in str(caught.value)
    save_file(WEIGHTS, merged / "model.safetensors", metadata={"made by": own})
    (merged / "vocab.json").unlink()
    with pytest.raises(MendableErrors, match="your access token"):
        check_folder(merged, "merged", secrets=[own])


@pytest.mark.parametrize(
    "text",
    [
        str(Path.home() / "models" / "llava"),
        str(Path.cwd() / "out" / "merged"),
        "see /home/someone/data and more",
        "/Users/someone/data",
        "C:\\Users\\someone\\data",
        "/mnt/disk1/llava",
        "file:///mnt/disk1/llava",
    ],
)
def test_places_on_a_machine_are_found(merged, text):
    (merged / "tokenizer_config.json").write_text(json.dumps({"deep": [{"name_or_path": text}]}))
    with pytest.raises(MendableErrors, match=r"a place on this machine|the absolute path"):
        check_folder(merged, "merged")


def test_the_runs_own_folder_is_found_in_text_and_in_the_weights(merged, tmp_path):
    place = Path("/elsewhere/projects/run")
    (merged / "README.md").write_text(f"made in `{place}/merged`")
    save_file(WEIGHTS, merged / "model.safetensors", metadata={"from": f"{place}/merged"})
    assert check_folder(merged, "merged")
    with pytest.raises(MendableErrors) as caught:
        check_folder(merged, "merged", [place])
    assert len(caught.value.errors) == 2


def test_weights_must_be_safetensors_of_a_model(merged):
    (merged / "model.safetensors").write_bytes(b"\x80\x04\x95pickled")
    with pytest.raises(MendableErrors, match="no safetensors, whatever its name says"):
        check_folder(merged, "merged")
    save_file({"state.0.exp_avg": torch.ones(2)}, merged / "model.safetensors")
    with pytest.raises(MendableErrors, match="an optimizer's states"):
        check_folder(merged, "merged")


def test_a_missing_shard_or_configuration_is_named(merged):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (merged / "model.safetensors").rename(merged / shards[0])
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    (merged / "model.safetensors.index.json").write_text(json.dumps(index))
    (merged / "config.json").unlink()
    with pytest.raises(MendableErrors, match=f"config.json, {shards[1]} missing"):
        check_folder(merged, "merged")
    with pytest.raises(MendableError, match=r"\*.safetensors missing"):
        check_folder(merged.parent, "adapter")


def test_parts_may_have_the_bases_own_names_where_the_index_names_them(merged):
    parts = ["model.safetensors-00001-of-00001.safetensors", "optimizer.safetensors"]
    (merged / "model.safetensors").rename(merged / parts[0])
    with pytest.raises(MendableErrors, match="on no list"):
        check_folder(merged, "merged")
    index = merged / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": parts[0]}}))
    assert parts[0] in [file.path for file in check_folder(merged, "merged")]
    index.write_text(json.dumps({"weight_map": {"a": parts[0], "b": parts[1]}}))
    save_file(WEIGHTS, merged / parts[1])
    with pytest.raises(MendableErrors, match="training states"):
        check_folder(merged, "merged")


def test_all_that_is_wrong_is_said_at_once(merged):
    (merged / "optimizer.pt").write_bytes(b"")
    (merged / "config.json").write_text("no json")
    (merged / "README.md").write_bytes(b"\xff\xfe")
    with pytest.raises(MendableErrors) as caught:
        check_folder(merged, "merged")
    assert len(caught.value.errors) == 3
