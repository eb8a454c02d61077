"""What a model card says of the limits of its own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from eval_harness import facts, numbers
from recipes.markdown import escaped

if TYPE_CHECKING:
    from recipes.card import Subject


def limitations(result: Mapping[str, Any], subject: Subject) -> list[Markup]:
    """What the numbers above do not say."""
    after = facts.at(result, "scores", "after") or {}
    resolved = facts.at(result, "recipe", "resolved") or {}
    answers = facts.at(result, "verify", "answers", "n")
    lines = []
    if facts.by_heart(result):
        lines.append("The model has learnt a handful of drawn pictures by heart. It is of no use but to test software.")
    elif after:
        lines.append(
            f"Measured is one task, {after.get('task')}, on {numbers.count(after.get('n'))} questions "
            f"({after.get('sample') or 'all of the split'}). What the model does elsewhere, in other languages or with "
            "other prompts, was not measured; nor were bias, safety and made-up answers."
        )
        small = [
            f"{name} ({cell['n']})"
            for name, cell in (after.get("scores") or {}).items()
            if numbers.known(cell.get("n")) and cell["n"] < 100
        ]
        if small:
            lines.append(f"Some categories have few questions, and wide intervals: {', '.join(small)}.")
    lines.append(
        f"One training with one seed ({facts.at(resolved, 'train', 'seed')}): the intervals are about the questions "
        "asked, and not about how another training would turn out."
    )
    lines += _beside_controls(result)
    status = facts.at(result, "verdict", "status")
    if status == "does not look":
        lines.append("The model is not shown to look at its pictures: see the scores without looking.")
    elif status == "not judged":
        lines.append("Whether its answers come from the pictures was not judged.")
    compared = f" on {answers} questions" if answers else ""
    lines.append(
        f"That it is the model in training was compared on the few rows and{compared or ' the questions'} named above, "
        "and not on more."
    )
    if left_out := sum(n for n in facts.section(result, "rows_left_out").values() if numbers.known(n)):
        lines.append(f"{numbers.count(left_out)} rows of the data could not be used, and were left out of training.")
    lines.append("Whatever the base model gets wrong, and whatever its data was biased to, this model has too.")
    if subject.kind == "merged" and facts.at(result, "verify", "faithful") is False:
        lines.append(
            "The scores are those of the adapter on the quantised base that it was trained on. The merged model has "
            "other weights below it, and was not scored itself."
        )
    if subject.kind == "adapter" and facts.at(resolved, "model", "quantization") not in (None, "none"):
        lines.append("The adapter was trained on the quantised base; on the full-precision one its answers may differ.")
    return [escaped(line) for line in lines]


def _beside_controls(result: Mapping[str, Any]) -> list[str]:
    """Where the scores say less than they seem to, against answering without looking."""
    if facts.by_heart(result):
        return []
    before, after = (facts.at(result, "scores", when) or {} for when in ("before", "after"))
    controls, lines = list((after.get("controls") or {}).values()), []
    blind = [
        name
        for name, cell in (after.get("scores") or {}).items()
        if any((control.get(name) or {}).get("high", -1) >= cell.get("low", 2) for control in controls)
    ]
    if blind:
        lines.append(f"No better than an answer without looking, within the intervals: {', '.join(blind)}.")
    first = facts.at(before, "scores", "overall", "score")
    without = [facts.at(control, "overall", "score") for control in controls]
    if numbers.known(first) and any(numbers.known(score) and first < score for score in without):
        lines.append(
            "The base model scores below an answer without looking. It may not know the form of answer that is asked "
            "for, so not all of the gain is better sight."
        )
    return lines
