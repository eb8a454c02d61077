"""What is asked of one's own pictures and rows, and the file that the answers are kept in."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from data_prep.chat import check_text
from data_prep.example import PICTURE, Example
from data_prep.rows import Rejected, RowError
from eval_harness.answer_file import AnswerFile
from eval_harness.asked import asked, fitting
from eval_harness.predict import ABOUT_MODEL, Counts, predict, run_of
from mlplora_vlm.errors import MendableError


class Echo:
    """Answers with the question and the number of pictures; refuses rows whose question says so."""

    name = "echo"

    def __init__(self, digest="d"):
        self.digest, self.asked = digest, []

    def answers(self, examples, prompt, max_new_tokens, batch_size, description="", progress=True):
        for number in reversed(range(len(examples))):  # in whatever order
            example = examples[number]
            if "refuse" in example.question:
                raise RowError("control tokens", "the template would read it", f"row {example.id}")
            self.asked.append(example.id)
            yield number, f"{example.question.replace(PICTURE, '')}|{len(example.images)}"


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.png", "a.jpg", "deep/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 3), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    return tmp_path


def rows_file(folder, *rows) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def run(answerer, found, there=(), batch_size=2):
    rows: list[dict] = []
    counts = predict(answerer, found, "as_written", 9, batch_size, rows.extend, there, progress=False)
    return rows, counts


def test_pictures_and_folders_are_asked_one_question_in_the_order_of_their_names(folder):
    found = asked([str(folder / "b.png"), str(folder)], "what?")
    names = [str(folder / name) for name in ("b.png", "a.jpg", "b.png", "broken.png", "deep/c.webp")]
    assert [one.id for one in found] == [*names[:2], f"{names[2]}#2", *names[3:]]
    assert {one.row.question for one in found} == {"what?"} and all(len(one.row.images) == 1 for one in found)


def test_rows_have_pictures_questions_and_ids_of_their_own(folder):
    words = [
        rows_file(
            folder,
            {"image": "b.png", "question": "what?", "id": "first"},
            {"images": ["b.png", "a.jpg"], "question": "<image> or <image>?", "id": 7},
            {"question": "nothing to see?"},
        )
    ]
    one, two, three = asked(words)
    assert [one.id, two.id, three.id] == ["first", "7", "000002"]
    assert one.row.images == (folder / "b.png",) and one.row.question == "what?"
    assert two.row.question == f"{PICTURE}or {PICTURE}?" and len(two.row.images) == 2
    assert three.row.images == () and three.row.answer == "" and three.row.references == ()


def test_rows_of_messages_end_with_what_is_asked_whether_or_not_they_have_an_answer(folder):
    picture = {"type": "image", "image": "b.png"}
    begun = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [picture, {"type": "text", "text": "what?"}]},
        {"role": "assistant", "content": "a square"},
        {"role": "user", "content": "of what colour?"},
    ]
    answered = {"messages": [*begun, {"role": "assistant", "content": "red"}]}
    prompt = {"prompt": begun, "completion": [{"role": "assistant", "content": "red"}]}
    words = [rows_file(folder, {"messages": begun, "id": "m"}, answered, prompt, {"prompt": begun})]
    for one in asked(words):
        assert one.row.question == "of what colour?" and one.row.answer == "" and one.row.references == ()
        assert one.row.earlier == ((f"{PICTURE}what?", "a square"),) and one.row.system == "Be brief."
        assert one.row.images == (folder / "b.png",)


def test_bad_rows_are_rows_with_an_error_and_none_is_lost(folder):
    good = {"image": "b.png", "question": "what?", "id": "good"}
    words = [
        rows_file(
            folder,
            good,
            "not json",
            {"image": "b.png"},
            {"image": "nowhere.png", "question": "what?", "id": "gone"},
            {"image": "../b.png", "question": "what?"},
            {"image": "broken.png", "question": "what?", "id": "broken"},
            {"image": "http://127.0.0.1:9/x.png", "question": "what?"},
            {"messages": [{"role": "user", "content": "<image>"}]},
            {"image": "b.png", "question": "please refuse", "id": "refused"},
            ["no", "object"],
            {**good, "id": "last"},
        )
    ]
    found, answerer = asked(words), Echo()
    rows, counts = run(answerer, found)
    assert [row["id"] for row in rows] == [one.id for one in found] and len(rows) == 11
    assert {row["id"]: row["prediction"] for row in rows if "error" not in row} == {
        "good": "what?|1",
        "last": "what?|1",
    }
    reasons = {row["id"]: row["reason"] for row in rows if "error" in row}
    assert reasons == {
        "000001": "broken line",
        "000002": "missing field",
        "gone": "missing picture",
        "000004": "picture outside its folder",
        "broken": "unreadable picture",
        "000006": "picture by URL",
        "000007": "picture markers",
        "refused": "control tokens",
        "000009": "missing field",
    }
    assert counts == Counts(2, 0, Counter(reasons.values()))
    assert all(row["error"] and row["where"] for row in rows if "reason" in row)


@pytest.mark.parametrize("named", [True, False])
def test_a_row_that_is_refused_costs_no_other_its_answer_nor_its_batch(folder, named):
    each = [{"image": "b.png", "question": "refuse me" if n in (3, 11) else f"what is {n}?"} for n in range(14)]
    found, sizes = asked([rows_file(folder, *each)]), []

    class Picky(Echo):
        def answers(self, examples, *options, **more):
            sizes.append(len(examples))
            try:
                yield from super().answers(examples, *options, **more)
            except RowError as error:
                raise RowError(error.reason, error.what, error.where if named else "") from error

    rows, counts = run(Picky(), found)
    assert [row["id"] for row in rows if "error" in row] == ["000003", "000011"] and counts.new == 12
    assert all(row["prediction"] == f"what is {int(row['id'])}?|1" for row in rows if "error" not in row)
    assert len(sizes) == (3 if named else 1 + 12)  # what is not yet answered is asked together, or else alone


def test_pictures_of_rows_may_be_in_another_folder(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("rows")
    words = [rows_file(elsewhere, {"image": "b.png", "question": "what?"})]
    assert asked(words)[0].row.reason == "missing picture"
    assert asked(words, pictures=folder)[0].row.images == (folder / "b.png",)


@pytest.mark.parametrize("word", ["nowhere.png", "nowhere/", "nowhere.jsonl"])
def test_words_that_name_nothing_are_refused(folder, word):
    with pytest.raises(MendableError, match="there is no such"):
        asked([str(folder / word)], "what?")


def test_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(MendableError, match="holds no pictures"):
        asked([str(tmp_path)], "what?")


def test_questions_that_the_prompt_has_no_place_for_cost_their_row_alone_or_all_is_a_mistake(folder):
    found = asked([rows_file(folder, {"image": "b.png", "question": "what?"}), str(folder / "b.png")])
    kept = fitting(found, "as_written")
    assert isinstance(kept[0].row, Example) and isinstance(kept[1].row, Rejected)
    with pytest.raises(MendableError, match="no question is asked"):
        fitting(found[1:], "as_written")
    assert isinstance(fitting(found[1:], "caption")[0].row, Example)
    with pytest.raises(MendableError, match="leave out the question"):
        fitting(found[:1], "caption")


def test_what_is_there_is_not_asked_again(folder):
    found, answerer = asked([str(folder)], "what?"), Echo()
    rows, _ = run(answerer, found)
    whole = [row["key"] for row in rows if "error" not in row]
    answerer.asked.clear()
    again, counts = run(answerer, found, whole)
    assert answerer.asked == [] and counts.there == 3 and [row["reason"] for row in again] == ["unreadable picture"]
    Image.new("RGB", (5, 3), "blue").save(folder / "b.png")
    changed, _ = run(answerer, asked([str(folder)], "what?"), whole)
    assert [row["id"] for row in changed] == [str(folder / "b.png"), str(folder / "broken.png")]


def test_key_hangs_on_all_that_is_asked(folder):
    def key(question="what?", **more):
        return asked([rows_file(folder, {"image": "b.png", "question": question, "id": "x"} | more)])[0].key

    assert key() == key()
    assert len({key(), key("who?"), key(id="y"), key(image="a.jpg"), key(images=["b.png", "a.jpg"])}) == 5


def test_run_hangs_on_the_model_and_the_options():
    runs = {run_of(Echo(digest), prompt, tokens) for digest in "ab" for prompt in ("a", "b") for tokens in (1, 2)}
    assert len(runs) == 8


def rows_of(*keys, **more):
    return [{"id": key, "prediction": f"answer {key}", "key": key} | more for key in keys]


def test_answers_are_kept_and_come_back_in_the_order_that_is_asked(tmp_path):
    path = tmp_path / "new/answers.jsonl"
    file = AnswerFile(path, "run")
    file.add(rows_of("c", "a"))
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["c", "a"]  # before it is closed
    file.add(rows_of("b"))
    file.sort(["a", "b", "c"])
    again = AnswerFile(path, "run")
    assert list(again.answered) == ["a", "b", "c"] and again.answered["b"]["prediction"] == "answer b"
    again.sort(["b"])
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["b", "a", "c"]


@pytest.mark.parametrize("torn", [b'{"id": "c", "pred', b'{"id": "\xc3', b'{"id": "c", "key": "c", "run": "run"}'])
def test_a_last_line_that_breaks_off_is_dropped_wherever_it_breaks(tmp_path, torn):
    path = tmp_path / "answers.jsonl"
    file = AnswerFile(path, "run")
    file.add(rows_of("a", "b"))
    file.sort([])
    path.write_bytes(path.read_bytes() + torn)
    file = AnswerFile(path, "run")
    assert list(file.answered) == ["a", "b"]
    file.add(rows_of("c"))
    file.sort([])
    assert list(AnswerFile(path, "run").answered) == ["a", "b", "c"]


def test_rows_with_an_error_are_tried_anew(tmp_path):
    path = tmp_path / "answers.jsonl"
    file = AnswerFile(path, "run")
    file.add([*rows_of("a"), {"id": "b", "error": "no picture", "reason": "missing picture", "key": "b"}])
    file.sort([])
    assert list(AnswerFile(path, "run").answered) == ["a"]
    assert path.read_text().count("\n") == 1


def test_answers_of_two_runs_are_never_mixed(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, "run").add(rows_of("a"))
    before = path.read_bytes()
    with pytest.raises(MendableError, match=r"another model[^$]*--force"):
        AnswerFile(path, "other")
    assert path.read_bytes() == before
    assert AnswerFile(path, "other", force=True).answered == {} and path.read_bytes() == b""


@pytest.mark.parametrize("text", ["my letter", "my letter\n", '{"id": 3}\n', "[1]\n", "3\n"])
def test_files_of_something_else_are_left_alone(tmp_path, text):
    path = tmp_path / "mine.txt"
    path.write_text(text)
    with pytest.raises(MendableError, match=r"no answers|not one of answers"):
        AnswerFile(path, "run")
    assert path.read_text() == text


def test_half_of_a_surrogate_pair_costs_its_row_alone_wherever_it_stands(folder, tmp_path):
    each = [
        {"image": "b.png", "question": "what?", "id": "good"},
        {"image": "b.png", "question": "half \ud83d of one", "id": "text"},
        {"image": "b.png", "question": "what?", "id": "id \udc00"},
    ]
    found, out = asked([rows_file(folder, *each)]), tmp_path / "out/answers.jsonl"

    class Strict(Echo):
        def answers(self, examples, *options, **more):
            for example in examples:
                check_text(example, re.compile("<never>"))
            yield from super().answers(examples, *options, **more)

    with AnswerFile(out, "run") as file:
        counts = predict(Strict(), found, "as_written", 9, 2, file.add, progress=False)
    file.sort([one.key for one in found])
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["good", "text", "id \udc00"] and counts.errors == {"invalid text": 1}
    assert rows[1]["reason"] == "invalid text" and rows[1]["question"] == each[1]["question"]
    assert [row.get("prediction") for row in rows] == ["what?|1", None, "what?|1"]


class Broken(Echo):
    """Answers with what it is given: a text, or the reason of a row's error."""

    def __init__(self, *answers):
        super().__init__()
        self.texts = answers

    def answers(self, examples, *options, **more):
        for number, example in enumerate(examples):
            text = self.texts[int(example.question) % len(self.texts)]
            if text in ABOUT_MODEL:
                raise RowError(text, "logits are NaN", f"row {example.id}")
            yield number, text


def numbered(folder, count):
    return asked([rows_file(folder, *({"image": "b.png", "question": str(n), "id": f"q{n}"} for n in range(count)))])


@pytest.mark.parametrize(
    ("answers", "count", "fact"),
    [
        (["model"], 1, "NaN"),
        (["template"], 3, "none of 3"),
        (["processor", "model"], 20, "none of 16"),
        ([""], 2, "empty"),
    ],
)
def test_a_model_that_answers_no_row_is_reported_and_nothing_is_written(folder, answers, count, fact):
    rows = []
    with pytest.raises(MendableError, match=fact) as error:
        predict(Broken(*answers), numbered(folder, count), "as_written", 9, 2, rows.extend, progress=False)
    assert error.value.where == "echo" and rows == []


@pytest.mark.parametrize(("answers", "count"), [(["", "yes"], 4), ([""], 1), (["model", "yes"], 4)])
def test_some_empty_answers_and_some_errors_are_fine(folder, answers, count):
    rows, counts = run(Broken(*answers), numbered(folder, count))
    assert len(rows) == count and counts.new >= 1
