"""Whether the answers come from the pictures: a score against what a model that does not look could have."""

from __future__ import annotations

from typing import Any

from eval_harness.numbers import of_all

CONTROLS = {"blank": "blank pictures", "shuffled": "shuffled pictures", "prior": "the training answers alone"}
"""What the controls are called in a sentence."""


def verdict(summary: dict[str, Any], judge: str | None) -> dict[str, str]:
    """{status: "looks" | "does not look" | "not judged" | "by heart", sentence}: do the answers come from the pictures?

    The model looks if the lower 95 % bound of its score in the category ``judge`` lies above the upper bound of every
    control.  Of rows that were trained on only their number is said: nothing about them is a score.
    """
    if summary.get("by_heart"):
        return {"status": "by heart", "sentence": _by_heart(summary)}
    if not judge or not summary["controls"]:
        why = "the recipe names no category to judge by" if not judge else "no control was run"
        return {"status": "not judged", "sentence": f"Whether the model looks at the pictures was not judged: {why}."}
    score = summary["scores"][judge]
    controls = {name: scores[judge] for name, scores in summary["controls"].items()}
    failed = [name for name, control in controls.items() if score["low"] <= control["high"]]
    asked = "all questions" if judge == "overall" else f"the {judge} questions"
    own = f"{score['score']:.1%} of {asked} right (at least {score['low']:.1%}, n = {score['n']:,})"
    others = ", ".join(
        f"{CONTROLS[name]} {controls[name]['score']:.1%} (at most {controls[name]['high']:.1%})" for name in controls
    )
    if failed:
        reason = f"that is not clearly more than with {' and '.join(CONTROLS[name] for name in failed)}"
        return {
            "status": "does not look",
            "sentence": f"The model is not shown to look at the pictures: {own}; {reason}: {others}.",
        }
    return {"status": "looks", "sentence": f"The model looks at the pictures: {own}, against {others}; 95 % bounds."}


def _by_heart(summary: dict[str, Any]) -> str:
    def right(scores: dict[str, Any]) -> str:
        return of_all(scores["overall"]["score"], scores["overall"]["n"])

    controls = [f"with {CONTROLS[name]} {right(scores)}" for name, scores in summary["controls"].items()]
    beside = f" ({', '.join(controls)})" if controls else ""
    own = f"By heart: {right(summary['scores'])} questions that were trained on are answered right{beside}."
    return f"{own} It proves the chain, and is no score."
