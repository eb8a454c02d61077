"""The preview shows the batch of the training itself: every token, what is learnt of it, and the pictures it gets."""

from __future__ import annotations

import html
import re
from functools import cache
from itertools import groupby

import pytest
from chat_processors import llama_tokenizer
from PIL import Image

from data_prep.chat import messages, render
from data_prep.collate import IGNORED, TrainCollator
from data_prep.demo.tiny import FAMILIES, tiny_family
from data_prep.demo.tiny.build import build_processor
from data_prep.example import PICTURE, Example
from data_prep.preview import Preview, pick, picture_token, preview_page, token_texts
from data_prep.record import to_record

HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"


@cache
def processor(family):
    return build_processor(tiny_family(family))


def example(question="what is it?", answer="red", pictures=1, name="row", **more):
    images = tuple(Image.new("RGB", (40 + 60 * number, 30), "teal") for number in range(pictures))
    return Example(name, images, question, answer, (answer,), "open", **more)


def answers(shown):
    """The texts of each stretch of learnt tokens."""
    kinds = groupby(shown.tokens, key=lambda token: token.kind)
    return ["".join(token.text for token in tokens) for kind, tokens in kinds if kind == "answer"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_every_token_of_the_batch_is_shown_once(family, pictures):
    row = example("is it blue?", "a small circle", pictures)
    shown, batch = Preview(processor(family), "short_answer")(row), TrainCollator(processor(family))([row])
    length = int(batch["attention_mask"][0].sum())
    assert not shown.problem and shown.counts["whole"] == length
    places = [place for token in shown.tokens for place in range(token.at, token.at + token.length)]
    assert places == list(range(length))
    learnt = (batch["labels"][0, :length] != IGNORED).tolist()
    assert [token.at for token in shown.tokens if token.kind == "answer"] == [at for at in places if learnt[at]]
    assert all(token.id == batch["input_ids"][0, token.at] for token in shown.tokens)
    assert len(answers(shown)) == 1 and "a small circle" in answers(shown)[0]
    assert answers(shown)[0].endswith(processor(family).answer_end)
    assert len(shown.pictures) == pictures and all(shown.pictures)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_picture_is_one_run_where_it_stands(family):
    row = example(f"{PICTURE} left of {PICTURE}?", pictures=2)
    shown, placeholder = Preview(processor(family), "as_written")(row), processor(family).placeholder
    text = "".join(f"<{token.text}>" if token.kind == "picture" else token.text for token in shown.tokens)
    written, _ = render(processor(family), messages(row, "as_written"))  # some templates put all pictures first

    def order(text, *pictures):
        return [found[0] == "left of" for found in re.finditer("|".join((*pictures, "left of")), text)]

    assert order(text, "<picture [12]>") == order(written, re.escape(placeholder)) and text.count("<picture ") == 2
    assert text.index("<picture 1>") < text.index("<picture 2>")
    core = picture_token(processor(family))
    assert all((token.id == core) == (token.kind == "picture") for token in shown.tokens)


def test_answers_of_all_turns_are_learnt_and_nothing_else():
    row = example(earlier=(("is it round?", "no"), ("why?", "it has corners")))
    shown = Preview(processor("qwen3_vl"), "as_written")(row)
    assert answers(shown) == ["no<|im_end|>", "it has corners<|im_end|>", "red<|im_end|>"]
    specials = [token.text for token in shown.tokens if token.special]
    assert specials.count("<|im_start|>") == specials.count("<|im_end|>") == 6


def test_a_record_of_a_prepared_set_is_shown_as_its_example():
    row = example(f"left {PICTURE} or right {PICTURE}?", pictures=2, where="rows.json, row 3", repairs=("mended",))
    preview = Preview(processor("llava"), "as_written")
    one, other = preview(row), preview(to_record(row, "mine"))
    assert one.tokens == other.tokens and other.example.repairs == ("mended",)
    assert [[tile.tobytes() for tile in tiles] for tiles in one.pictures] == [
        [tile.tobytes() for tile in tiles] for tiles in other.pictures
    ]


@pytest.mark.parametrize("text", ["what  is\nit?", "naïve 🦔🦔 ok", " led by a space", "ends with half \ufffd", "汉字"])
@pytest.mark.parametrize("kind", ["bytes", "llama"])
def test_token_texts_add_up_to_the_text(text, kind):
    tokenizer = llama_tokenizer() if kind == "llama" else processor("qwen3_vl").tokenizer
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    decoded = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids) and "".join(texts) == decoded
    if "🦔" in text:
        assert "🦔" in texts and "" in texts  # the bytes before the last show nothing
    after = token_texts(tokenizer, [*tokenizer.convert_tokens_to_ids(tokenizer.all_special_tokens[:1]), *ids], 1)
    assert "".join(after).strip() == decoded.strip()


def test_pick_names_the_extremes_and_draws_the_rest_by_seed():
    lengths, pictures = [50, 90, 10, 40, 60, 70], [1, 1, 1, 4, 0, 1]
    chosen = pick(lengths, pictures, 2, seed=3)
    first = [(number, why[0]) for number, why in chosen[:3]]
    assert first == [(1, "longest row"), (3, "most pictures"), (2, "shortest row")]
    assert sum("by seed" in why for _, why in chosen) == 2
    assert chosen == pick(lengths, pictures, 2, seed=3)
    assert len({tuple(number for number, _ in pick(lengths, pictures, 2, seed)) for seed in range(8)}) > 1
    assert sorted(number for number, _ in pick(lengths, pictures, 99)) == list(range(6))
    assert pick([], [], 5) == []
    assert all("most pictures" not in why for _, why in pick([1, 2], [1, 1], 0))


def test_a_row_that_cannot_be_used_says_why_beside_the_others(tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    broken = Example("broken", (tmp_path / "no.jpg",), "q", "a", ("a",), "open")
    text = preview_page("rows", processor("llava"), [(broken, ["by seed"]), (example(), ["by seed"])])
    assert text.count("✗ left out") == 1 and "no.jpg" in text.partition("✗")[2]
    assert text.count('<p class="tokens text"') == 1


def test_hostile_text_stays_text_and_nothing_outside_is_asked_for(tmp_path, open_page):
    row = example(HOSTILE, HOSTILE, name=HOSTILE, where=HOSTILE, repairs=(HOSTILE,))
    path = tmp_path / "preview.html"
    path.write_text(preview_page(HOSTILE, processor("qwen2_vl"), [(row, [HOSTILE])], notes=[HOSTILE]))
    assert path.read_text().count("<script") == 1
    opened = open_page(path)
    assert "<title>owned" not in opened.stdout and "CONSOLE" not in opened.stderr
    shown = html.unescape("".join(re.findall(r"<span[^>]*data-at[^>]*>([^<]*)</span>", opened.stdout)))
    assert shown.count(HOSTILE) == 2


def test_the_page_works_in_a_browser(tmp_path, complaints, dump_dom):
    rows = [(example("a\nb", pictures=2), ["longest row"]), (example(pictures=0, name="text"), ["by seed"])]
    page = preview_page("rows", processor("internvl"), rows)
    script = """<script>addEventListener("load", () => {
      const shown = () => [...document.querySelectorAll(".text span")].filter((one) => one.getClientRects().length);
      const seen = [shown().length], text = document.querySelector(".text");
      for (const kind of ["prompt", "answer"]) {
        document.querySelector(`button[data-show=${kind}]`).click();
        seen.push(shown().filter((one) => one.classList.contains("answer")).length, shown().length);
      }
      text.focus();
      seen.push(document.querySelector(".readout").textContent);
      text.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
      seen.push(document.querySelector(".current").dataset.at);
      document.querySelector(".tile").click();
      seen.push(document.querySelector(".enlarged").open, document.querySelector(".enlarged img").naturalWidth);
      document.body.dataset.seen = JSON.stringify(seen);
    })</script>"""
    path = tmp_path / "preview.html"
    path.write_text(page)
    assert complaints(path) == []
    assert re.findall(r"""(?:src|href)="(?!data:)[^"]*""", page) == []
    path.write_text(re.sub(r'<meta http-equiv="Content-Security[^>]*>', "", page) + script)
    seen = re.search(r'data-seen="\[([^\]]*)\]', dump_dom(path))[1]
    found = html.unescape(seen).split(",")
    every, learnt_of_prompt, prompt, learnt, answer = map(int, found[:5])
    assert every == prompt + answer and learnt_of_prompt == 0 and learnt == answer > 0
    assert re.search(r"token \d+", seen) and "true" in found and int(found[-1]) > 0


def test_a_page_with_a_fault_is_noticed(tmp_path, complaints):
    (tmp_path / "bad.html").write_text("<script>nothing.at.all()</script>")
    assert complaints(tmp_path / "bad.html")
