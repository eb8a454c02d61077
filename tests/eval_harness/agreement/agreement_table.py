"""Writes docs/agreement.md out of the committed files; needs Java, for the captions.

PYTHONPATH=. python tests/eval_harness/agreement/agreement_table.py
"""

from __future__ import annotations

from pathlib import Path

from agreement_files import PAIRS, Pair, differing, differing_figures, read

from eval_harness.metrics._caption_words import likeness

PAGE = Path(__file__).parents[3] / "docs" / "agreement.md"

_HEAD = """# Agreement with the official code

Each metric was run beside its official evaluator on 2,000 seeded hard cases: contractions, number words, articles,
commas in numbers, full stops, ties between annotators, Unicode, empty answers. The cases and the official outputs are
in [tests/eval_harness/agreement/](../tests/eval_harness/agreement/). `make.py` there makes the outputs, given a clone
of the evaluator's repository, from the commit named here; `test_official_scores.py` compares ours with them, scores to
1e-9 (captions 1e-6), and figures such as F1, BLEU or MME's totals likewise. `agreement_table.py` writes this page.

| metric | official evaluator | cases | scores that differ | figures compared |
| --- | --- | ---: | ---: | --- |
"""

_COPIES = """
Three evaluators are published copies, since their authors offer theirs for download alone: GQA's eval.py, VizWiz's
API, and the DocVQA challenge's script. `exact_match` is our own definition and has no official evaluator. SPICE is
computed by its own program where its data is installed, and has not been run here.
"""


_CAUSES = """
## Every difference and its cause

`differing` in agreement_files.py lists the cases.

| metric | evaluator | cases | cause |
| --- | --- | ---: | --- |
"""


def page() -> str:
    """The page's text."""
    lines, notes = [], []
    for pair in PAIRS:
        for metric in pair.metrics:
            found = differing(pair, metric)
            figures = list(read(pair)["figures"].get(metric, {}))
            off = differing_figures(pair, metric)
            said = ", ".join(
                f"{name.removeprefix('first sentence: ')}{' (differs)' if name in off else ''}" for name in figures
            )
            number = sum(map(len, found.values()))
            cells = [metric, _link(pair), f"{len(read(pair)['cases']):,}", str(number or "none"), said or "–"]
            lines.append(f"| {' | '.join(cells)} |\n")
            notes += [f"| {metric} | {pair.name} | {len(cases)} | {cause} |\n" for cause, cases in found.items()]
            notes += [f"| {metric} | {pair.name} | figure {name} | {why} |\n" for name, why in pair.figure_causes]
    return _HEAD + "".join(lines) + _COPIES + _CAUSES + "".join(notes) + _without_java()


def _link(pair: Pair) -> str:
    url = f"https://github.com/{pair.repository}/tree/{pair.commit}"
    return f"`{pair.name}`: [{pair.repository}]({url}) at {pair.commit[:7]}, {', '.join(pair.files)}"


def _without_java() -> str:
    pair = next(pair for pair in PAIRS if pair.kind == "captions")
    data = read(pair)
    made = [likeness(case["prediction"].replace("\n", " ")) for case in data["cases"]]
    other = sum(one != two for one, two in zip(made, data["words"], strict=True))
    metrics = ", ".join(metric for metric in pair.metrics if metric != "meteor")
    return f"""
## Without Java

{metrics} then count the words of our own likeness of Stanford's tokeniser, and the result says so;
there is no METEOR and no SPICE. On these {len(made):,} hard captions the likeness parts {other} otherwise
({other / len(made):.1%}): "y'all", two commas in a row inside a number, a backtick for an apostrophe, lone
underscores, full stops before a comma.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
