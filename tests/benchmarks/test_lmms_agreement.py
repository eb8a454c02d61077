"""The rows that lmms-eval gets are ours, and its logs are read back in our order."""

from __future__ import annotations

import json
from itertools import islice

import pyarrow.parquet as parquet
import yaml
from PIL import ImageChops

from benchmarks.lmms_agreement import TASK, UTILS, lmms_samples, write_task
from data_prep.images import open_image
from data_prep.sources import easy_vqa


class _Loader(yaml.SafeLoader):
    """Takes lmms-eval's tag as a text."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def test_the_task_holds_exactly_our_rows_pictures_and_words(tmp_path):
    rows = list(islice(easy_vqa.rows("test"), 5))
    write_task(tmp_path, rows)
    table = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["id"] for row in table] == [row.id for row in rows]
    for theirs, ours in zip(table, rows, strict=True):
        assert theirs["asked"] == f"{ours.question}\nAnswer the question using a single word or phrase."
        assert theirs["answer"] == ours.answer
        picture = open_image(theirs["image"]["bytes"])
        assert ImageChops.difference(picture, open_image(ours.images[0])).getbbox() is None
    task = yaml.load((tmp_path / f"{TASK}.yaml").read_text(), _Loader)
    assert task["task"] == TASK and task["dataset_kwargs"]["data_files"]["test"] == str(tmp_path / "rows.parquet")
    names: dict = {}
    exec(UTILS, names)
    assert names["text"]({"asked": "what?"}) == "what?"


def test_logs_are_read_in_the_rows_order(tmp_path):
    log = tmp_path / "model/20261128"
    log.parent.mkdir()
    lines = [{"doc_id": 1, "filtered_resps": [" yes "]}, {"doc_id": 0, "filtered_resps": "red\n"}]
    log.with_name(f"20261128_samples_{TASK}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = {"results": {TASK: {"alias": TASK, "exact_match,none": 0.5, "exact_match_stderr,none": 0.1}}}
    log.with_name("20261128_results.json").write_text(json.dumps(results))
    assert lmms_samples(log.with_name("20261128_results.json"), 2) == (["red", "yes"], 0.5)
