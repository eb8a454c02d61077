"""Whether the merged model gives the tuned model's answers; where it does not, whether rounding explains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from data_prep.example import Example
from eval_harness.figures import mean, measured
from eval_harness.generate import answers, greedy, in_order
from eval_harness.metrics import Metric
from mlplora_vlm.inputs import on_model

ALLOWED = {"float32": 0.0, "bfloat16": 0.01, "int8": 0.01}
"""Share of answers that may differ, by what rounds (see `mlplora_vlm.verify.BOUNDS`)."""


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
    answer differs.  Returns n, the number different and explained, the differing rows, and the mean difference of the
    scores (merged - tuned) with its paired 95 % bootstrap interval.
    """
    stream = answers(merged, processor, examples, prompt, max_new_tokens, batch_size, description="merged model")
    got = in_order(stream, len(examples))
    numbers = [number for number, text in enumerate(got) if text != tuned_answers[number]]
    rows = []
    if numbers:
        tuned = load_tuned()
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
    return {
        "n": len(examples),
        "different": len(rows),
        "explained": sum(row["explained"] for row in rows),
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
    import torch

    from data_prep.collate import PromptCollator

    batch = PromptCollator(processor, prompt)([example])
    outputs = []
    for model in (tuned, merged):
        with torch.inference_mode():
            outputs.append(
                model.generate(
                    **on_model(batch, model),
                    generation_config=greedy(model, processor, max_new_tokens),
                    output_logits=True,
                    return_dict_in_generate=True,
                )
            )
    start = batch["input_ids"].shape[1]
    pairs = zip(outputs[0].sequences[0, start:].tolist(), outputs[1].sequences[0, start:].tolist(), strict=False)
    for step, (left, right) in enumerate(pairs):
        if left != right:
            best = outputs[0].logits[step][0].float().topk(2).values
            return (best[0] - best[1]).item()
    return 0.0


def agrees(found: dict[str, Any], rounding: str) -> bool:
    """fp32: no answer differs; else at most 1 %, each explained by rounding, and the score may be the same."""
    few = found["different"] <= ALLOWED[rounding] * found["n"] and found["explained"] == found["different"]
    return few and found["score"]["low"] <= 0 <= found["score"]["high"]
