"""The official forms, byte by byte."""

from __future__ import annotations

import json

import pytest

from eval_harness import export as module
from eval_harness.export import FORMS, export
from eval_harness.predictions import write_rows
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import write_json

ROTATED = "index\thint\tquestion\tA\tB\tC\tD\tanswer\timage\n"


@pytest.fixture
def folder(tmp_path):
    def evaluation(*rows, sample="all rows"):
        each = [
            {"id": own, "category": "c", "question": more[0] if more else "", "references": ["x"], "score": 1.0}
            | {"prediction": answer}
            for own, answer, *more in rows
        ]
        write_rows(tmp_path / "predictions.jsonl", each)
        write_json(tmp_path / "result.json", {"task": "t", "sample": sample})
        return tmp_path

    return evaluation


@pytest.mark.parametrize(
    ("form", "ids", "entries"),
    [
        ("vqav2", ("vqav2/val/262148000", "vqav2/val/1"), ('"question_id": 262148000', '"question_id": 1', "answer")),
        ("okvqa", ("ok_vqa/val/2971475", "ok_vqa/val/1"), ('"question_id": 2971475', '"question_id": 1', "answer")),
        ("textvqa", ("textvqa/val/34602", "textvqa/val/1"), ('"question_id": 34602', '"question_id": 1', "answer")),
        (
            "vizwiz",
            ("vizwiz/val/VizWiz_val_00000000", "vizwiz/val/VizWiz_val_00000001.jpg"),
            ('"image": "VizWiz_val_00000000.jpg"', '"image": "VizWiz_val_00000001.jpg"', "answer"),
        ),
        ("docvqa", ("docvqa/val/49153", "docvqa/val/1"), ('"questionId": 49153', '"questionId": 1', "answer")),
        ("infovqa", ("info_vqa/val/98313", "info_vqa/val/1"), ('"questionId": 98313', '"questionId": 1', "answer")),
        (
            "coco",
            ("coco_captions/karpathy_test/391895", "coco_captions/karpathy_test/1"),
            ('"image_id": 391895', '"image_id": 1', "caption"),
        ),
        ("nocaps", ("no_caps/val/0", "no_caps/val/4499"), ('"image_id": 0', '"image_id": 4499', "caption")),
    ],
)
def test_lists_are_exactly_what_the_official_code_reads(folder, tmp_path, form, ids, entries):
    done = folder((ids[0], 'a "dog"\n'), (ids[1], "Café"))
    notes = export(form, done, tmp_path / "deep/out.json")
    first, second, said = entries
    text = f'[{{{first}, "{said}": "a \\"dog\\"\\n"}}, {{{second}, "{said}": "Café"}}]\n'
    assert (tmp_path / "deep/out.json").read_text("utf-8") == text
    assert notes[0] == f"2 rows, for {FORMS[form].place}"


def test_every_form_is_tested():
    assert set(FORMS) == {"vqav2", "okvqa", "textvqa", "vizwiz", "docvqa", "infovqa", "coco", "nocaps", "mmbench"}


@pytest.fixture
def official(tmp_path):
    """As the official file turns choices: the last one goes first."""
    path = tmp_path / "mmbench.tsv"
    lines = [
        '241\tnan\tWhat is it?\ta dog\ta "cat"\ta cow\t\tA\tAAAA',
        "252\tLook.\tWhich?\tone\ttwo\tthree\tall of these\tC\tAAAA",
        '1000241\tnan\tWhat is it?\ta cow\ta dog\ta "cat"\t\tB\tAAAA',
        '2000241\tnan\tWhat is it?\ta "cat"\ta cow\ta dog\t\tC\tAAAA',
    ]
    quoted = [line.replace('a "cat"', '"a ""cat"""') for line in lines]
    path.write_text(ROTATED + "".join(f"{line}\n" for line in quoted), "utf-8")
    return path


WHOLE = "Look.\nWhich?\nA. one\nB. two\nC. three\nD. all of these"


def test_mmbench_repeats_the_official_columns_with_its_own_rotations(folder, tmp_path, official):
    done = folder(
        ("mmbench/dev/241/0", "A", 'What is it?\nA. a dog\nB. a "cat"\nC. a cow'),
        ("mmbench/dev/241/1", "C", 'What is it?\nA. a "cat"\nB. a cow\nC. a dog'),
        ("mmbench/dev/241/2", "B", 'What is it?\nA. a cow\nB. a dog\nC. a "cat"'),
        ("mmbench/dev/252/0", "C. three", WHOLE),
        ("mmbench/dev/252/1", "B", "Look.\nWhich?\nA. two\nB. three\nC. all of these\nD. one"),
    )
    notes = export("mmbench", done, tmp_path / "out.tsv", official)
    assert (tmp_path / "out.tsv").read_text("utf-8").splitlines() == [
        "index\tquestion\tA\tB\tC\tD\tprediction",
        '241\tWhat is it?\ta dog\t"a ""cat"""\ta cow\t\tA',
        '2000241\tWhat is it?\t"a ""cat"""\ta cow\ta dog\t\tC',
        '1000241\tWhat is it?\ta cow\ta dog\t"a ""cat"""\t\tB',
        "252\tWhich?\tone\ttwo\tthree\tall of these\tC. three",
    ]
    assert notes[1:] == ["1 rotations were left out: the official file does not have them"]
    notes = export("mmbench", folder(("mmbench/dev/252", "C", WHOLE)), tmp_path / "out.csv", official)
    assert (tmp_path / "out.csv").read_text("utf-8").splitlines()[1:] == ["252,Which?,one,two,three,all of these,C"]
    assert notes[1:] == ["3 of the official file's rows (questions or rotations) were not asked"]


def test_mmbench_of_other_choices_is_refused(folder, tmp_path, official):
    other = ("mmbench/dev/252", "B", "Which?\nA. one\nB. two\nC. three")
    with pytest.raises(MendableError, match="other choices than the official question"):
        export("mmbench", folder(other), tmp_path / "out.tsv", official)
    with pytest.raises(MendableError, match="no question 7"):
        export("mmbench", folder(("mmbench/dev/7", "B", "?")), tmp_path / "out.tsv", official)
    twice = ("mmbench/dev/252", "B", WHOLE)
    with pytest.raises(MendableError, match="or twice"):
        export("mmbench", folder(twice, twice), tmp_path / "out.tsv", official)
    for annotations_file, said in ((None, "--annotations"), (tmp_path / "gone.tsv", "no such file")):
        with pytest.raises(MendableError, match=said):
            export("mmbench", folder(other), tmp_path / "out.tsv", annotations_file)
    (tmp_path / "other.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(MendableError, match="not MMBench's file"):
        export("mmbench", folder(other), tmp_path / "out.tsv", tmp_path / "other.tsv")
    assert not (tmp_path / "out.tsv").exists()


def test_mmbench_as_xlsx_takes_openpyxl(folder, tmp_path, official, monkeypatch):
    import pandas as pd

    def missing(*_, **__):
        raise ImportError("openpyxl")

    monkeypatch.setattr(pd.DataFrame, "to_excel", missing)
    done = folder(("mmbench/dev/252", "C", WHOLE))
    with pytest.raises(MendableError, match=r"openpyxl[^$]*\.tsv"):
        export("mmbench", done, tmp_path / "out.xlsx", official)
    with pytest.raises(MendableError, match=r"\.tsv, \.csv and \.xlsx"):
        export("mmbench", done, tmp_path / "out.json", official)


def test_samples_are_said_to_be_samples(folder, tmp_path):
    notes = export("vqav2", folder(("vqav2/val/1", "a"), sample="a sample of 1 of 9 rows, seed 0"), tmp_path / "o.json")
    assert notes[-1] == "it is a sample of 1 of 9 rows, seed 0: servers take whole splits only"


@pytest.mark.parametrize("own", ["gqa/val/1", "vqav2/val/", "vqav2", "vqav2/val/one", "vqav2/val/-1"])
def test_rows_of_another_set_are_refused(folder, tmp_path, own):
    with pytest.raises(MendableError, match=r"not of that set|no official number"):
        export("vqav2", folder((own, "a")), tmp_path / "o.json")
    assert not (tmp_path / "o.json").exists()


def test_a_question_asked_twice_is_refused(folder, tmp_path):
    with pytest.raises(MendableError, match="same official id"):
        export("vqav2", folder(("vqav2/val/1", "a"), ("vqav2/val/1", "b")), tmp_path / "o.json")


def test_unknown_forms_and_empty_folders_are_said(folder, tmp_path):
    with pytest.raises(MendableError, match=r"did you mean 'vqav2'"):
        export("vqav", tmp_path, tmp_path / "o.json")
    with pytest.raises(MendableError, match="no finished evaluation"):
        export("vqav2", tmp_path, tmp_path / "o.json")
    with pytest.raises(MendableError, match="is empty"):
        export("vqav2", folder(), tmp_path / "o.json")


def test_verb_writes_the_file_and_says_where_it_goes(folder, tmp_path, capsys):
    from recipes.__main__ import main

    assert main(["export", "vqav2", str(folder(("vqav2/val/1", "a"))), "--out", str(tmp_path / "o.json")]) == 0
    assert json.loads((tmp_path / "o.json").read_text()) == [{"question_id": 1, "answer": "a"}]
    assert capsys.readouterr().out == f"{tmp_path / 'o.json'}: 1 rows, for {module.FORMS['vqav2'].place}\n"
    assert main(["export", "vqa", str(tmp_path), "--out", str(tmp_path / "p.json")]) == 2
