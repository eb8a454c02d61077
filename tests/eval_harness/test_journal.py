"""Answers that are on disk are never asked again, and those under another key never read."""

from __future__ import annotations

import pytest

from eval_harness.journal import FOLDER, Journal

TEXTS = {"a": 'line\nbreak "quoted"', "b": "\u2028\x85", "c": ""}


def test_what_was_written_is_known_to_all_processes(tmp_path):
    for process, names in enumerate(("ab", "c")):
        list(Journal(tmp_path, "plain", "key", process).write((name, TEXTS[name]) for name in names))
    assert Journal(tmp_path, "plain", "key", 5).known() == TEXTS
    assert Journal(tmp_path, "plain", "other", 0).known() == Journal(tmp_path, "blank", "key", 0).known() == {}


def test_answers_are_on_disk_before_the_next_is_asked(tmp_path):
    journal = Journal(tmp_path, "plain", "key", 0)
    stream = journal.write((str(number), "x") for number in range(100))
    for count, _ in enumerate(stream, 1):
        assert len(journal.known()) >= count - count % 8
    assert len(journal.known()) == 100


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_torn_line_does_not_count_and_does_no_harm(tmp_path, cut):
    journal = Journal(tmp_path, "plain", "key", 0)
    list(journal.write([("a", "é"), ("b", "yes")]))
    [path] = (tmp_path / FOLDER).iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    left = journal.known()
    assert left == ({"a": "é"} if cut <= len(whole.splitlines(True)[1]) else {})
    list(journal.write([("c", "no")]))
    assert journal.known() == left | {"c": "no"}


def test_other_keys_are_cleared_and_a_finished_part_leaves_nothing(tmp_path):
    old, new, blank = (Journal(tmp_path, *names, 0) for names in (("plain", "1"), ("plain", "2"), ("blank", "1")))
    for journal in (old, new, blank):
        list(journal.write([("a", "x")]))
    new.clear_others()
    assert (old.known(), new.known(), blank.known()) == ({}, {"a": "x"}, {"a": "x"})
    new.remove()
    assert (tmp_path / FOLDER).is_dir()
    blank.remove()
    assert list(tmp_path.iterdir()) == []


def test_damaged_lines_are_answered_again(tmp_path):
    journal = Journal(tmp_path, "plain", "key", 0)
    list(journal.write([("a", "yes")]))
    [path] = (tmp_path / FOLDER).iterdir()
    broken = (b'{"id": "b", "pred', b"\x00\xff", b"3", b"[]", b'{"id": "b"}', b"")
    path.write_bytes(path.read_bytes() + b"".join(line + b"\n" for line in broken))
    list(journal.write([("c", "no")]))
    assert journal.known() == {"a": "yes", "c": "no"}
