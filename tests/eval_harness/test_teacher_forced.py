"""One forward pass counts a row as right exactly where greedy decoding gives its answer."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from eval_harness.teacher_forced import teacher_forced

WORDS, LENGTH, PAD = 7, 6, 0


class Chain(nn.Module):
    """A language model whose next token hangs on the last one alone."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(0)))

    def forward(self, input_ids, logits_to_keep):
        return SimpleNamespace(logits=self.table[input_ids][:, logits_to_keep])

    def greedy(self, token, steps):
        said = []
        for _ in range(steps):
            token = int(self.table[token].argmax())
            said.append(token)
        return said


def example(prompt, answer, category="open"):
    return SimpleNamespace(prompt=prompt, answer=answer, category=category)


def collate(rows):
    ids, labels = torch.full((len(rows) + 1, LENGTH), PAD), torch.full((len(rows) + 1, LENGTH), -100)
    for i, row in enumerate(rows):  # and one more row without labels, as the collator may add
        whole = [*row.prompt, *row.answer]
        ids[i, : len(whole)] = torch.tensor(whole)
        labels[i, len(row.prompt) : len(whole)] = torch.tensor(row.answer)
    return {"input_ids": ids, "labels": labels}


def test_accuracy_is_greedy_decoding():
    model, random = Chain(), torch.Generator().manual_seed(1)
    rows, wanted = [], []
    for i in range(40):
        prompt = torch.randint(WORDS, (1 + i % 3,), generator=random).tolist()
        answer = model.greedy(prompt[-1], 1 + i % 3)
        if i % 2:  # one token is another
            place = i % len(answer)
            answer[place] = (answer[place] + 1) % WORDS
        rows.append(example(prompt, answer, "odd" if i % 2 else "even"))
        wanted.append(model.greedy(prompt[-1], len(answer)) == answer)
    found = teacher_forced(model, collate, rows, batch_size=7)
    assert found["accuracy"] == sum(wanted) / 40 == 0.5 and found["rows"] == 40
    assert found["by_category"] == {"even": 1.0, "odd": 0.0}


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_loss_is_the_mean_over_answer_tokens(batch_size):
    model = Chain()
    rows = [example([1], [2, 3]), example([4, 5], [6]), example([2], [2, 2, 2])]
    steps = [(1, 2), (2, 3), (5, 6), (2, 2), (2, 2), (2, 2)]
    logs = model.table.detach().log_softmax(-1)
    found = teacher_forced(model, collate, rows, batch_size)
    assert math.isclose(found["loss"], -sum(float(logs[a, b]) for a, b in steps) / len(steps), rel_tol=1e-5)
    assert not model.training


def test_real_model_gives_its_own_loss():
    from tiny_llava import build_model, build_processor

    from data_prep.collate import TrainCollator
    from data_prep.sources import shapes

    processor = build_processor()
    model, collator, rows = build_model(processor), TrainCollator(processor), list(shapes.rows("test"))[:6]
    with torch.no_grad():
        wanted = float(model.eval()(**collator(rows)).loss)
    assert math.isclose(teacher_forced(model, collator, rows, 6)["loss"], wanted, rel_tol=1e-5)
