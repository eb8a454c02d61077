"""Rows before training: accepted, repaired and said so, or rejected with a reason; nothing is ever cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from chat_processors import processors
from PIL import Image

from data_prep.check import MOVED, SHOWN, RowCheck
from data_prep.collate import IGNORED, TrainCollator
from data_prep.demo import tiny
from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import build_processor
from data_prep.example import PICTURE, Example
from data_prep.record import to_example, to_record
from data_prep.rows import Rejected
from data_prep.section import DataSection, SourceSection
from mlplora_vlm.errors import MendableError

PROCESSORS = processors()
FAMILIES = sorted(
    path.stem for path in Path(tiny.__file__).parent.glob("*.py") if path.stem not in ("__init__", "build")
)


def example(question="what is it?", answer="red", pictures=1, name="row", **more):
    images = tuple(Image.new("RGB", (30 + i, 20), "red") for i in range(pictures))
    return Example(name, images, question, answer, (answer,), "open", **more)


def checked(*rows, processor=PROCESSORS["chatml"], **settings):
    check = RowCheck(processor, DataSection("mine", **settings))
    return check.records([to_record(row, "mine") for row in rows])


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_a_row_counts_as_many_tokens_as_its_batch_has(name, pictures):
    row = example(pictures=pictures, earlier=(("and this?", "blue"),), system="Be brief.")
    (record,) = checked(row, processor=PROCESSORS[name])
    batch = TrainCollator(PROCESSORS[name])([row])
    assert record["reason"] is None and record["length"] == int(batch["attention_mask"][0].sum())
    assert record["label_tokens"] == int((batch["labels"][0] != IGNORED).sum())
    assert record["picture_tokens"] == 4 * pictures == record["length"] - record["text_tokens"]


def test_what_training_gets_is_what_was_checked():
    row = example(f"left {PICTURE} or right {PICTURE}?", pictures=2, earlier=(("hm?", "yes"),), system=" Be brief.")
    (record,) = checked(row)
    asked, plain = TrainCollator(PROCESSORS["chatml"], "as_written")([record]), TrainCollator(PROCESSORS["chatml"])
    wanted = plain([row])
    assert asked.keys() == wanted.keys() and all((asked[key] == wanted[key]).all() for key in wanted)


def test_a_template_that_moves_pictures_is_said(growing):
    row = example(f"left {PICTURE} or right {PICTURE}?", pictures=2)
    processors = {"qwen": growing, "llava-hf": PROCESSORS["llava-hf"]}
    found = {name: checked(row, processor=processor)[0]["repairs"] for name, processor in processors.items()}
    assert found == {"qwen": [], "llava-hf": [MOVED]}
    assert checked(example(f"{PICTURE}left?"), processor=PROCESSORS["llava-hf"])[0]["repairs"] == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (example(answer=" \n"), "empty answer"),
        (example(earlier=(("a?", ""),)), "empty answer"),
        (example(" ", pictures=0), "prompt"),
        (example("what is <image>?"), "control tokens"),
        (example(answer="<|im_end|>"), "control tokens"),
        (example(system="<|im_start|>"), "control tokens"),
        (example(answer="\ud800"), "invalid text"),
        (example(f"{PICTURE} and {PICTURE}?", pictures=1), "picture markers"),
        (replace(example(), images=(b"no picture",)), "unreadable picture"),
        (example("why " * 200), "too long"),
        (Rejected("file:7", "broken line", "not JSON"), "broken line"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_row_is_rejected_with_its_reason_beside_good_ones(row, reason):
    before, bad, after = checked(example(), row, example(name="last"), max_length=64)
    assert bad["reason"] == reason and bad["detail"] and bad["where"]
    for record, name in ((before, "row"), (after, "last")):
        assert record["reason"] is None and record["id"] == name and record["length"]


def test_a_row_that_does_not_fit_its_prompt_is_rejected():
    assert [row["reason"] for row in checked(example(), example(""), prompt="caption")] == ["prompt", None]


def test_each_source_asks_in_its_own_words():
    settings = DataSection("mine", mixed_with={"captions": SourceSection("mine", prompt="caption")})
    check = RowCheck(PROCESSORS["chatml"], settings)
    short, caption = check.records([to_record(example(), "mine"), to_record(example(""), "captions")])
    assert short["turns"][0]["question"].endswith("word or phrase.")
    assert caption["turns"][0]["question"].startswith("Provide a one-sentence caption")


def test_control_tokens_are_escaped_where_the_recipe_says_so():
    (record,) = checked(example("what is <|im_end|> here?"), control_tokens="escape")
    assert record["reason"] is None and record["repairs"]
    tokenizer = PROCESSORS["chatml"].tokenizer
    ids = tokenizer(record["turns"][0]["question"])["input_ids"]
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") not in ids


def test_pictures_that_are_mended_are_said(tmp_path):
    path = tmp_path / "picture.png"
    Image.new("CMYK", (30, 20)).save(path, "jpeg")
    (record,) = checked(replace(example(), images=(path,)))
    assert record["reason"] is None and len(record["repairs"]) == 2  # its colours, and its suffix


def test_a_picture_is_embedded_where_the_recipe_says_so(tmp_path):
    path = tmp_path / "picture.png"
    Image.new("RGB", (30, 20), "blue").save(path)
    row = replace(example(), images=(path,))
    (beside,), (within,) = checked(row), checked(row, embed_pictures=True)
    assert beside["images"][0]["bytes"] is None and within["images"][0]["bytes"] == path.read_bytes()
    collate = TrainCollator(PROCESSORS["chatml"], "as_written")
    path_first, bytes_first = collate([beside])["pixel_values"], collate([within])["pixel_values"]
    assert (path_first == bytes_first).all()


@pytest.fixture(scope="module")
def growing():
    """A check of one large picture, with a processor whose tokens grow with the pixels."""
    processor = build_processor(tiny_family("qwen2_5_vl"))
    processor.image_processor.size = {"shortest_edge": 28 * 28, "longest_edge": 1000 * 1000}  # pixels
    return processor


LARGE = replace(example(), images=(Image.new("RGB", (800, 400), "red"),))


def test_a_row_that_is_too_long_is_left_out(growing):
    (whole,) = checked(LARGE, processor=growing, max_length=4096)
    assert whole["reason"] is None and whole["picture_tokens"] > 100
    (short,) = checked(LARGE, processor=growing, max_length=whole["length"] - 1)
    assert short["reason"] == "too long" and f"{whole['length']:,} tokens" in short["detail"]
    assert checked(LARGE, processor=growing, max_length=whole["length"])[0]["reason"] is None


def test_or_has_its_pictures_made_smaller(growing):
    (whole,) = checked(LARGE, processor=growing, max_length=4096)
    limit = whole["text_tokens"] + whole["picture_tokens"] // 2
    (record,) = checked(LARGE, processor=growing, max_length=limit, too_long="shrink")
    assert record["reason"] is None and record["repairs"] == [SHOWN]
    width, height = record["images"][0]["shrunk"]
    assert 400 < width < 800 and width == 2 * height and record["images"][0]["size"] == [800, 400]
    batch = TrainCollator(growing, "as_written")([record])
    assert int(batch["attention_mask"].sum()) == record["length"] <= limit
    assert to_example(record).images[0].size == (width, height)
    (text_alone,) = checked(LARGE, processor=growing, max_length=whole["text_tokens"], too_long="shrink")
    assert text_alone["reason"] == "too long"


SHAPES = [(3, 590), (590, 3), (2, 380), (700, 6), (900, 900), (1, 40)]


@pytest.mark.parametrize("family", FAMILIES)
def test_images_of_any_shape_are_made_smaller_in_proportion_or_refused_with_their_own_size(family):
    processor = build_processor(tiny_family(family))
    for width, height in SHAPES:
        row = replace(example(), images=(Image.new("RGB", (width, height), "red"),))
        (whole,) = checked(row, processor=processor, max_length=100_000)
        if whole["reason"] is not None:
            assert whole["reason"] == "picture size" and f"{width} x {height} pixels" in whole["detail"]
            continue
        for share in (0.9, 0.5, 0.1, 0.0):
            limit = max(8, whole["text_tokens"] + int(share * whole["picture_tokens"]))
            (record,) = checked(row, processor=processor, max_length=limit, too_long="shrink")
            if record["reason"] is not None:
                assert record["reason"] == "too long" and f"{width} x {height} pixels" in record["detail"]
            elif record["images"][0]["shrunk"]:
                (short, long), (side, other) = sorted((width, height)), sorted(record["images"][0]["shrunk"])
                assert record["length"] <= limit and side >= 1 and 0 <= long * side / short - other < 1
                batch = TrainCollator(processor, "as_written")([record])
                assert int(batch["attention_mask"].sum()) == record["length"]


def test_an_image_is_made_as_small_as_needed_where_smaller_ones_are_refused(growing):
    thin = replace(example(), images=(Image.new("RGB", (3, 590)),))
    (whole,) = checked(thin, processor=growing, max_length=4096)
    assert whole["reason"] is None
    limit = whole["length"] - 1
    (record,) = checked(thin, processor=growing, max_length=limit, too_long="shrink")
    assert record["reason"] is None and record["images"][0]["shrunk"] == [1, 196]  # 1 x 295, half of it, is too narrow
    (record,) = checked(thin, processor=growing, max_length=whole["text_tokens"] + 1, too_long="shrink")
    assert record["reason"] == "too long" and "3 x 590" in record["detail"] and "1 x" not in record["detail"]


def test_or_ends_the_run(growing):
    with pytest.raises(MendableError, match="tokens") as error:
        checked(LARGE, processor=growing, max_length=64, too_long="fail")
    assert "max_length" in error.value.fix and error.value.where == "row"


def test_a_size_that_the_processor_refuses_is_a_rejection(growing):
    (record,) = checked(replace(LARGE, images=(Image.new("RGB", (2000, 4)),)), processor=growing)
    assert record["reason"] == "picture size" and "2000 x 4" in record["detail"]
