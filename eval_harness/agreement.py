"""Whether the merged model gives the tuned model's answers; where it does not, whether rounding explains it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from data_prep.example import Example
from eval_harness.figures import mean, measured
from eval_harness.generate import answers, greedy, in_order
from eval_harness.metrics import Metric
from mlplora_vlm.inputs import on_model

IMPLAUSIBLE = 1e-3
"""Where so many near ties would flip less often than this by chance, something else than rounding is at work."""


def agreement(
    merged: Any,
    load_tuned: Callable[[], Any],
    processor: Any,
    examples: Sequence[Example],
    tuned_answers: Sequence[str],
    prompt: str,
    max_new_tokens: int,
    batch_size: int,
    logit_error: float,
    metric: Metric,
) -> dict[str, Any]:
    """Compares the merged model's answers with the tuned one's, given in the order of ``examples``.

    A difference is explained where, at the first token that differs, the tuned model's two best logits lie closer than
    ``logit_error``, the largest measured difference of the two models' logits.  ``load_tuned`` is called only where an
    answer differs.  Returns n, the number different and explained, the number of answers with near_ties (None where
    none differs), the chance of so many explained differences (see `chance`), the differing rows, and the mean
    difference of the scores (merged - tuned) with its paired 95 % bootstrap interval.
    """
    stream = answers(merged, processor, examples, prompt, max_new_tokens, batch_size, description="merged model")
    got = in_order(stream, len(examples))
    numbers = [number for number, text in enumerate(got) if text != tuned_answers[number]]
    rows, ties = list[dict[str, Any]](), list[int]()
    if numbers:
        tuned = load_tuned()
        for example in examples:
            _, margins = _decoded(tuned, processor, example, prompt, max_new_tokens)
            ties.append(sum(margin <= logit_error for margin in margins))
        for number in numbers:
            margin = first_margin(tuned, merged, processor, examples[number], prompt, max_new_tokens)
            rows.append(
                {
                    "id": examples[number].id,
                    "tuned": tuned_answers[number],
                    "merged": got[number],
                    "margin": margin,
                    "explained": margin <= logit_error,
                }
            )
            ties[number] = max(ties[number], rows[-1]["explained"])  # one at a time it may round otherwise
    explained = sum(row["explained"] for row in rows)
    return {
        "n": len(examples),
        "different": len(rows),
        "explained": explained,
        "near_ties": sum(map(bool, ties)) if rows else None,
        "chance": chance(explained, ties),
        "logit_error": logit_error,
        "score": _score_difference(metric, got, tuned_answers, examples),
        "rows": rows,
    }


def _score_difference(
    metric: Metric, merged: Sequence[str], tuned: Sequence[str], examples: Sequence[Example]
) -> dict[str, Any]:
    asked = [example.references for example in examples], [example.question for example in examples]
    pairs = zip(metric.scores(merged, *asked), metric.scores(tuned, *asked), strict=True)
    return measured(mean([after - before for after, before in pairs]))


def first_margin(tuned: Any, merged: Any, processor: Any, example: Example, prompt: str, max_new_tokens: int) -> float:
    """The tuned model's top-2 logit margin at the first token where the two models part; 0 where they never do."""
    tokens, margins = _decoded(tuned, processor, example, prompt, max_new_tokens)
    others, _ = _decoded(merged, processor, example, prompt, max_new_tokens)
    return next((m for m, left, right in zip(margins, tokens, others, strict=False) if left != right), 0.0)


def _decoded(
    model: Any, processor: Any, example: Example, prompt: str, max_new_tokens: int
) -> tuple[list[int], list[float]]:
    """(the tokens of the model's answer, the margin of its two best logits at each of them)."""
    import torch

    from data_prep.collate import PromptCollator

    batch = PromptCollator(processor, prompt)([example])
    with torch.inference_mode():
        output = model.generate(
            **on_model(batch, model),
            generation_config=greedy(model, processor, max_new_tokens),
            output_logits=True,
            return_dict_in_generate=True,
        )
    best = [step[0].float().topk(2).values for step in output.logits]
    return output.sequences[0, batch["input_ids"].shape[1] :].tolist(), [(two[0] - two[1]).item() for two in best]


def chance(flips: int, ties: Iterable[int]) -> float:
    """The largest probability that rounding alone changes at least ``flips`` answers; ``ties``: near ties of each.

    Rounding favors a token as often as it disfavors it, so a near tie flips at most every second time, and an answer
    with k of them changes with a probability of at most 1 - 2⁻ᵏ. The number of changed answers is the sum of these
    independent events (Poisson binomial).
    """
    fewer = np.zeros(flips + 1)
    fewer[0] = 1.0
    for count in ties:
        p = 1 - 0.5**count
        fewer[1:flips] = fewer[1:flips] * (1 - p) + fewer[: max(0, flips - 1)] * p
        fewer[0] *= 1 - p
    return float(1 - fewer[:flips].sum())


def agrees(found: dict[str, Any]) -> bool:
    """Whether every difference is explained by rounding, and their number is plausible for it."""
    return bool(found["explained"] == found["different"] and found["chance"] >= IMPLAUSIBLE)
