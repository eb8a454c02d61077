"""`push` against a hub on this machine, through the unmodified huggingface_hub client."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finished_run import edit_json, finished_run, stamp
from hub_server import TOKEN, serve

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, sha256
from recipes.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "out"
    recipe = finished_run(out)
    return out, recipe


@pytest.fixture
def out(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that this process's client takes for the real one; its waits between attempts take no time."""
    from huggingface_hub import constants

    with serve() as hub:
        for name, value in (
            ("ENDPOINT", hub.address),
            ("HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"),
            ("HF_HUB_DISABLE_XET", True),  # the client's own switch to git LFS
            ("HF_HUB_OFFLINE", False),
            ("HF_HUB_CACHE", str(tmp_path / "hub-cache")),
            ("HF_TOKEN_PATH", str(tmp_path / "no-token")),
        ):
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def said(capfd, caplog):
    """Everything that was printed and logged so far; the token is never in it."""
    caplog.set_level(logging.INFO)

    def so_far() -> str:
        printed = capfd.readouterr()
        text = printed.out + printed.err + caplog.text
        assert TOKEN not in text
        return text

    return so_far


def push(out, *words, to="me/tiny"):
    return main(["push", str(out), "--to", to, *words])


def everything(folder):
    return {path.relative_to(folder): sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_both_arrive_bit_identical_and_private_and_a_second_push_sends_nothing(hub, out, said, caplog):
    caplog.set_level(logging.DEBUG)
    before = everything(out)
    assert push(out) == 0
    printed = said()
    assert "me/tiny (private)" in printed and "me/tiny-adapter (private)" in printed
    for kind, repo in (("merged", "me/tiny"), ("adapter", "me/tiny-adapter")):
        there = hub.files(repo)
        assert there.pop("README.md").startswith(b"---\n") and hub.repos[repo].private
        assert there == {path.name: path.read_bytes() for path in (out / kind).iterdir()}
    assert len([name for name in hub.files("me/tiny") if name.endswith(".safetensors")]) > 2
    assert {
        path: digest for path, digest in everything(out).items() if path.parts[0] not in ("publish", ".lock")
    } == before
    heads = {name: repo.branches["main"] for name, repo in hub.repos.items()}
    hub.uploaded.clear()
    assert push(out) == 0
    assert not hub.uploaded and {name: repo.branches["main"] for name, repo in hub.repos.items()} == heads


def test_one_alone_goes_to_the_named_repo_public_and_on_a_branch(hub, out, said):
    assert push(out, "--what", "adapter", "--public", "--revision", "v2") == 0
    repo = hub.repos["me/tiny"]
    assert set(hub.repos) == {"me/tiny"} and not repo.private
    assert "adapter_model.safetensors" in hub.files("me/tiny", "v2") and not hub.files("me/tiny", "main")
    assert "revision='v2'" in hub.files("me/tiny", "v2")["README.md"].decode()
    assert "branch v2" in said()


def test_a_dry_run_lists_everything_and_sends_nothing(hub, out, said, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert push(out, "--dry-run") == 0
    printed = said()
    for kind in ("merged", "adapter"):
        for path in (out / kind).iterdir():
            assert f"{path.stat().st_size:>15,}  {path.name}" in printed
    assert printed.count("README.md") == 2 and "nothing was sent" in printed
    assert hub.asked == []


def corrupt(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))


def never_verified(out, recipe):
    (out / ".stages" / "verify.json").unlink()


def merged_again(out, recipe):
    edit_json(out / ".stages" / "merge.json", id=99)


def one_bit_of_the_weights(out, recipe):
    corrupt(max((out / "merged").glob("*.safetensors"), key=lambda path: path.stat().st_size))


def another_template(out, recipe):
    (out / "merged" / "chat_template.jinja").write_text("{{ messages }}")


def an_optimizer_beside(out, recipe):
    (out / "adapter" / "optimizer.pt").write_bytes(b"")


def an_adapter_lost(out, recipe):
    (out / "adapter" / "adapter_model.safetensors").unlink()


def a_failed_merge(out, recipe):
    for path in (out / "result.json", out / ".stages" / "verify.json"):
        value = read_json(path)
        part = value["verify"] if "verify" in value else value["output"]
        part["merge_error"] = float("nan")
        path.write_text(json.dumps(value))


def a_result_that_was_edited(out, recipe):
    value = read_json(out / "result.json")
    value["verify"]["merge_error"] = 0.0
    (out / "result.json").write_text(json.dumps(value))


def a_token_in_the_template(out, recipe):
    with (out / "merged" / "chat_template.jinja").open("a") as file:
        file.write(f"{{# {TOKEN} #}}")
    stamp(out, recipe)  # verified with it in


def a_place_of_this_machine(out, recipe):
    edit_json(out / "merged" / "tokenizer_config.json", name_or_path=str(out / "merged"))
    stamp(out, recipe)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (never_verified, "was not verified"),
        (merged_again, "was not verified"),
        (one_bit_of_the_weights, "merged is not what was verified: model-0000"),
        (another_template, "merged is not what was verified: chat_template.jinja"),
        (an_optimizer_beside, "adapter holds what was not verified: optimizer.pt"),
        (an_adapter_lost, "adapter is not what was verified: adapter_model.safetensors"),
        (a_failed_merge, "the verification of merge failed"),
        (a_result_that_was_edited, "something else than the verification"),
        (a_token_in_the_template, "a Hugging Face token"),
        (a_place_of_this_machine, "a place on this machine"),
    ],
)
def test_what_is_not_verified_or_not_fit_is_refused_and_the_hub_receives_nothing(
    hub, out, finished, said, spoil, message
):
    spoil(out, finished[1])
    assert push(out) == 2
    printed = said()
    assert message in printed and "Traceback" not in printed
    assert hub.asked == []


def test_a_broken_upload_loses_nothing_and_goes_on(hub, out, said):
    from huggingface_hub import constants

    assert constants.HF_HUB_DISABLE_XET
    before = everything(out)
    largest = max((out / "merged").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    hub.drop[sha256(largest)] = 1000
    assert push(out, "--what", "merged") == 2
    printed = said()
    assert "the upload broke off: the connection failed" in printed and "the same command goes on" in printed
    assert not hub.files("me/tiny"), "the branch changes only when all is there"
    assert {path: digest for path, digest in everything(out).items() if path.parts[0] != "publish"} == before | {
        path: digest for path, digest in everything(out).items() if path.name == ".lock"
    }
    first = {oid for oid, _ in hub.uploaded}
    assert first and sha256(largest) not in first
    hub.drop.clear()
    hub.uploaded.clear()
    assert push(out, "--what", "merged") == 0
    assert not first & {oid for oid, _ in hub.uploaded}, "what had arrived is not sent again"
    there = hub.files("me/tiny")
    assert all(there[path.name] == path.read_bytes() for path in (out / "merged").iterdir())


def test_large_files_go_in_parts(hub, out):
    hub.part_bytes = 30_000
    assert push(out, "--what", "merged") == 0
    largest = max((out / "merged").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    assert hub.files("me/tiny")[largest.name] == largest.read_bytes()
    assert [size for oid, size in hub.uploaded if oid == sha256(largest)].count(30_000) > 1


@pytest.mark.parametrize(
    ("method", "pattern", "status", "message", "said_then"),
    [
        ("POST", "repos/create", 403, "You don't have the rights to create a model under me", "may write there"),
        ("POST", "/commit/", 403, "Private repository storage limit reached", "make room on the hub"),
        ("PUT", "/lfs/", 413, "Payload Too Large", "takes no file of that size"),
        ("POST", "objects/batch", 507, "Insufficient Storage", "make room on the hub"),
        ("POST", "/commit/", 409, "another commit is under way", "wait until"),
        ("GET", "/api/models/me/tiny$", 429, "Too many requests", "wait some minutes"),
        ("POST", "/commit/", 429, "Too many commits this hour", "wait some minutes"),
        ("PUT", "/lfs/", 503, "Service Unavailable", "the hub is in trouble"),
        ("GET", "/refs", 500, f"trouble with Bearer {TOKEN}", "the hub is in trouble"),
    ],
)
def test_what_the_hub_refuses_is_said_and_loses_nothing(hub, out, said, method, pattern, status, message, said_then):
    before = everything(out / "merged") | everything(out / "adapter")
    hub.answers.append((method, pattern, status, message))
    assert push(out, "--what", "merged") == 2
    printed = said()
    error = printed[printed.index("\n", printed.rindex("README.md")) :]
    assert f"the hub answers {status}, {message.replace(f'Bearer {TOKEN}', '(token)')}" in error
    assert said_then in error and "Traceback" not in printed
    assert everything(out / "merged") | everything(out / "adapter") == before
    hub.answers.clear()
    assert push(out, "--what", "merged") == 0


def test_a_wrong_token_is_named_as_such_and_never_shown(hub, out, said, monkeypatch):
    wrong = "hf_" + "WrongWrongWrongWrongWrong0123456"
    monkeypatch.setenv("HF_TOKEN", wrong)
    assert push(out) == 2
    printed = said()
    assert "the repo cannot be looked at: the hub answers 401" in printed and "hf auth login" in printed
    assert wrong not in printed and not hub.writes()


def test_without_a_token_nothing_is_asked_of_the_hub(hub, out, said, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert push(out) == 2
    assert "no token was found" in said() and hub.asked == []


def test_the_token_is_in_no_file_and_no_exception(hub, out):
    from mlplora_vlm.publish import push as push_folder

    hub.answers.append(("POST", "/commit/", 403, f"no, {TOKEN}"))
    assert push(out) == 2
    with pytest.raises(MendableError) as caught:
        push_folder(out / "publish" / "merged", "me/tiny", "merged", "demo/tiny-llava")
    shown = "".join(str(one) for one in (caught.value, caught.value.__dict__, caught.traceback))
    assert TOKEN not in shown and caught.value.__suppress_context__
    assert not [path for path in out.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


CARD = "---\nlicense: apache-2.0\n{}\n---\n"


@pytest.mark.parametrize(
    ("files", "private", "message"),
    [
        ({"README.md": CARD.format("base_model: other/model")}, True, "a model of another base: other/model"),
        ({"README.md": CARD.format("mlplora_vlm: {base: demo/tiny-qwen2_5_vl}")}, True, "another base: demo/tiny-qwen"),
        ({"README.md": CARD.format(""), "model.safetensors": "x"}, True, "names no base model"),
        ({"adapter_config.json": "{}"}, True, "holds an adapter, and this is merged"),
        ({}, False, "the repo is public, and private was asked for"),
    ],
)
def test_a_repo_that_holds_something_else_is_left_as_it_is(hub, out, said, files, private, message):
    hub.add("me/tiny", {name: text.encode() for name, text in files.items()}, private)
    assert push(out, "--what", "merged") == 2
    assert message in said()
    assert not hub.writes() and set(hub.files("me/tiny")) == set(files)


def test_a_new_version_replaces_the_shards_of_the_old_one(hub, out):
    old = {"README.md": CARD.format("mlplora_vlm: {base: demo/tiny-llava}"), "model-00001-of-00099.safetensors": "old"}
    hub.add("me/tiny", {name: text.encode() for name, text in old.items()} | {"NOTES.md": b"kept"})
    assert push(out, "--what", "merged") == 0
    there = hub.files("me/tiny")
    assert "model-00001-of-00099.safetensors" not in there and there["NOTES.md"] == b"kept"


def test_a_base_from_a_folder_is_named_as_others_know_it(hub, out, finished, said, tmp_path):
    from dataclasses import replace

    from data_prep.demo.models import model_path

    folder = tmp_path / "copy-of-the-base"
    shutil.copytree(model_path("demo/tiny-llava"), folder)
    recipe = replace(finished[1], model=replace(finished[1].model, id=str(folder)))
    edit_json(out / "adapter" / "adapter_config.json", base_model_name_or_path=str(folder))
    recipe.dump_resolved(out / "resolved.yaml")
    stamp(out, recipe)
    words = ("--what", "adapter")
    assert push(out, *words, "--dry-run") == 2
    assert "which model on the hub it is a copy of" in said()
    hub.add("some/base", {"README.md": CARD.format("").encode()}, private=False)
    assert push(out, *words, "--base", "some/base", "--licence", "mit") == 2
    assert "under apache-2.0, and publish.licence says mit" in said()
    assert push(out, *words, "--base", "some/base") == 0
    there = hub.files("me/tiny")
    assert json.loads(there["adapter_config.json"])["base_model_name_or_path"] == "some/base"
    assert read_json(out / "adapter" / "adapter_config.json")["base_model_name_or_path"] == str(folder)
    card = there["README.md"]
    assert b"base_model: some/base\n" in card and b"base_model_relation: adapter\n" in card
    assert str(tmp_path).encode() not in b"".join(there.values())


LOAD = """
import sys, torch
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor
out, base = Path(sys.argv[1]), sys.argv[2]
ids = torch.arange(5, 25)[None]
def logits(model):
    with torch.inference_mode():
        return model.eval()(input_ids=ids).logits
there = AutoModelForImageTextToText.from_pretrained("me/tiny")
here = AutoModelForImageTextToText.from_pretrained(out / "merged")
assert torch.equal(logits(there), logits(here))
tuned = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), "me/tiny-adapter")
local = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), out / "adapter")
assert torch.equal(logits(tuned), logits(local)) and not torch.equal(logits(tuned), logits(here) * 0)
assert (logits(tuned) - logits(there)).norm() < 1e-4 * logits(there).norm()
template = AutoProcessor.from_pretrained(out / "merged").chat_template
for repo in ("me/tiny", "me/tiny-adapter"):
    assert AutoProcessor.from_pretrained(repo).chat_template == template
"""


@pytest.mark.slow
def test_from_pretrained_reads_the_same_bytes_back(hub, out, tmp_path):
    from data_prep.demo.models import model_path

    assert push(out) == 0
    cache = tmp_path / "home"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    environment = own | {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(cache),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-c", LOAD, str(out), model_path("demo/tiny-llava")]
    done = subprocess.run(
        command, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for kind, repo in (("merged", "models--me--tiny"), ("adapter", "models--me--tiny-adapter")):
        got = {path.name: path for path in (cache / "hub" / repo / "snapshots").glob("*/*")}
        weights = [path for path in (out / kind).iterdir() if path.suffix == ".safetensors"]
        assert weights and all(got[path.name].read_bytes() == path.read_bytes() for path in weights)
        assert all(
            path.read_bytes() == (out / kind / name).read_bytes() for name, path in got.items() if name != "README.md"
        )


def test_the_smoke_preset_publishes_only_where_the_command_line_says_so(tmp_path):
    from recipes.recipe import load_recipe

    text = (
        (ROOT / "recipes" / "llava_vqa.yaml").read_text().replace("\npresets:", "\npublish: {to: me/tuned}\npresets:")
    )
    path = tmp_path / "llava_vqa.yaml"
    path.write_text(text)
    assert load_recipe(path).publish.to == "me/tuned" == load_recipe(path, "demo").publish.to
    assert load_recipe(path, "smoke").publish.to == "none"
    assert load_recipe(path, "smoke", ["publish.to=me/test"]).publish.to == "me/test"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("publish.to=tuned", "is no hub id"),
        ("publish.to=me/a--b", "is no hub id"),
        ("publish.to=me/" + "x" * 90, "too long for the hub"),
        ("publish.public=true", "publish.to names none"),
        ("publish.revision=refs/pr/1", "cannot be a branch"),
        ("publish.licence=Apache 2", "no licence identifier"),
        ("publish.base=/models/llava", "is no hub id"),
    ],
)
def test_mistakes_in_the_section_are_found_when_the_recipe_is_read(override, message):
    from recipes.recipe import load_recipe

    with pytest.raises(MendableError, match=message):
        load_recipe(ROOT / "recipes" / "llava_vqa.yaml", "smoke", [override])


def test_what_publishing_lacks_is_said_before_the_training(hub, monkeypatch, tmp_path):
    from recipes.publish import missing_for_publishing
    from recipes.recipe import load_recipe

    asked = ["publish.to=me/tiny"]
    recipe = load_recipe(ROOT / "recipes" / "llava_vqa.yaml", "smoke", asked)
    assert list(missing_for_publishing(recipe)) == []
    monkeypatch.delenv("HF_TOKEN")
    assert ["no token" in str(one) for one in missing_for_publishing(recipe)] == [True]
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    recipe = load_recipe(ROOT / "recipes" / "llava_vqa.yaml", "smoke", [*asked, f"model.id={tmp_path}"])
    assert [one.where for one in missing_for_publishing(recipe)] == ["model.id", "publish.licence"]


def test_push_names_a_folder_that_is_no_run(tmp_path, said):
    assert main(["push", str(tmp_path), "--to", "me/tiny"]) == 2
    assert "no run is here" in said()


def test_the_card_is_shown_without_asking_anyone(hub, out, said):
    assert main(["card", str(out), "--to", "me/tiny", "--what", "merged"]) == 0
    assert "AutoModelForImageTextToText.from_pretrained('me/tiny'" in said() and hub.asked == []
