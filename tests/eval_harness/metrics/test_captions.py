"""Captions: their words with and without Java, BLEU and CIDEr-D against cases worked by hand, what is missing."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval_harness.figures import measured
from eval_harness.metrics import Metric, _caption_words, bleu, cider, meteor, spice
from eval_harness.metrics._caption_words import grouped_words, java_is_there, likeness, words
from mlplora_vlm.errors import MendableError

needs_java = pytest.mark.skipif(not java_is_there(), reason="needs Java")


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_caption_words, "java_is_there", lambda: False)
    for module in (meteor, spice):  # each has the name of its own
        monkeypatch.setattr(module, "java_is_there", lambda: False)


SENTENCES = [
    ("A man's dog can't go.", "a man 's dog ca n't go"),
    ("They couldn't've; cannot!", "they could n't 've can not"),
    ('2 (big) "T-shirts", 1,000 at 3.5 …', "2 -lrb- big -rrb- t-shirts 1,000 at 3.5"),
    ("We’re in the U.S. & café", "we 're in the u.s. & café"),
    ("", ""),
    ("...", ""),
    ("two\nlines\u2028of\rtext\x85\x0b\x0c", "two lines of text"),
]


@pytest.mark.parametrize(("caption", "expected"), SENTENCES)
def test_the_likeness(caption: str, expected: str, no_java: None) -> None:
    assert words([caption]) == [expected]


@needs_java
def test_stanfords_tokeniser() -> None:
    assert words([caption for caption, _ in SENTENCES]) == [expected for _, expected in SENTENCES]


@needs_java
@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=200))
def test_no_caption_gets_anothers_words(captions: list[str]) -> None:
    marked = words([text for caption in captions for text in (caption, "marker")])
    assert marked[1::2] == ["marker"] * len(captions)


def test_words_come_back_in_their_places(no_java: None) -> None:
    assert grouped_words(["A b.", "C"], [["D", "E f"], []]) == (["a b", "c"], [["d", "e f"], []])


@given(st.text())
def test_the_likeness_takes_anything(text: str) -> None:
    assert likeness(text) == " ".join(likeness(text).split())


def rows(predictions: list[str], references: list[list[str]]) -> list[dict]:
    return [{"prediction": one, "references": texts} for one, texts in zip(predictions, references, strict=True)]


def test_bleu_by_hand(no_java: None) -> None:
    said, wanted = ["the dog runs fast", "a cat"], [["a dog runs very fast", "the dog sits"], ["a cat sits", "cat"]]
    found = {name: measured(figure)["value"] for name, figure in Metric("bleu").figures(rows(said, wanted)).items()}
    # Every word is right; of the references of 5 and 3 words, equally near, the shorter counts: none is too short
    assert found["BLEU-1"] == pytest.approx(6 / 6)
    assert found["BLEU-2"] == pytest.approx((1.0 * 3 / 4) ** (1 / 2))  # the dog, dog runs, a cat; not runs fast
    assert bleu.scores(["a cat"], [["a cat sits there"]])[0] < 1e-3


def test_bleu_is_shortened_where_captions_are_short(no_java: None) -> None:
    (figure,) = (one for name, one in Metric("bleu").figures(rows(["a"], [["a b c"]])).items() if name == "BLEU-1")
    assert measured(figure)["value"] == pytest.approx(exp(1 - 3))


def test_a_repeated_word_is_right_as_often_as_one_reference_has_it(no_java: None) -> None:
    figures = Metric("bleu").figures(rows(["the the the the"], [["the cat the dog", "the bird is here"]]))
    assert measured(figures["BLEU-1"])["value"] == pytest.approx(2 / 4)


def test_cider_by_hand(no_java: None) -> None:
    """Two pictures, one word each: weight log 2, cosine 1 for the length 1, and 0 for the other three lengths."""
    assert cider.scores(["dog", "cat"], [["dog"], ["bird"]]) == pytest.approx([10 / 4, 0.0])
    same = cider.scores(["a big dog runs", "cat"], [["a big dog runs"], ["bird"]])
    assert same[0] == pytest.approx(10.0)
    # one word more has one pair more: the penalty on lengths is exp(-1 / 72)
    longer = cider.scores(["dog dog", "cat"], [["dog"], ["bird"]])
    assert longer[0] == pytest.approx(10 / 4 * (log(2) / (2 * log(2))) * exp(-1 / 72))


def test_a_word_of_every_picture_weighs_nothing(no_java: None) -> None:
    assert cider.scores(["a", "a"], [["a"], ["a"]]) == [0.0, 0.0]
    assert cider.scores(["dog"], [["dog"]]) == [0.0]


@given(st.lists(st.tuples(st.text("ab ", max_size=8), st.text("ab ", max_size=8)), min_size=1, max_size=5))
def test_cider_lies_between_0_and_10(captions: list[tuple[str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_caption_words, "java_is_there", lambda: False)
        found = cider.scores([one for one, _ in captions], [[other] for _, other in captions])
    assert all(-1e-9 <= score <= 10 + 1e-9 for score in found)


@needs_java
@pytest.mark.slow
def test_meteor_of_captions_and_of_the_corpus() -> None:
    metric, said, wanted = Metric("meteor"), ["a dog runs here", "cars"], [["a dog runs here"], ["a car", "no"]]
    scores = metric.scores(said, wanted)
    assert scores[0] == 1.0 and 0 < scores[1] < 1
    value = measured(metric.figures(rows(said, wanted))["METEOR"])["value"]
    assert scores[1] < value < 1
    assert metric.scores([], []) == []


def test_what_is_missing_is_said_before_and_beside(no_java: None) -> None:
    for name in ("meteor", "spice"):
        metric = Metric(name)
        assert "Java" in (metric.missing() or "")
        with pytest.raises(MendableError, match="Java"):
            metric.scores(["a"], [["a"]])
        assert metric.beside(rows(["a"], [["a"]])) == {} and "not computed" in metric.about()[name]
    assert "likeness" in Metric("cider").about()["tokeniser"]


@needs_java
def test_spice_is_offered_only_where_its_data_is(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "spice" / "lib").mkdir(parents=True)
    monkeypatch.setattr(spice, "jars", lambda: tmp_path)
    assert "stanford-corenlp-3.6.0.jar" in (spice.missing() or "")
    with pytest.raises(MendableError, match="stanford"):
        Metric("spice").scores(["a"], [["a"]])
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (tmp_path / "spice" / "lib" / name).touch()
    assert spice.missing() is None

    class Spice:
        def compute_score(self, wanted: dict, said: dict) -> tuple[float, list]:
            assert wanted == {0: ["a dog"], 1: ["a cat", "cats"]} and said == {0: ["dogs"], 1: ["a cat"]}
            return 0.5, [{"All": {"f": 0.25}}, {"All": {"f": 0.75}}]

    monkeypatch.setattr("pycocoevalcap.spice.spice.Spice", Spice)
    assert Metric("spice").scores(["Dogs.", "A cat"], [["A dog"], ["a cat!", "Cats"]]) == [0.25, 0.75]


@needs_java
def test_a_java_that_fails_is_told_in_a_sentence(tmp_path) -> None:
    with pytest.raises(MendableError, match="Java stopped"):
        _caption_words.run_java(["-cp", "nothing.jar", "Nothing"], "", tmp_path)
