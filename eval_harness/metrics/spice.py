"""SPICE of captions: how many of the things, attributes and relations of the references' scene graphs are said.

Sources: Anderson et al., arXiv 1607.08822; github.com/salaniz/pycocoevalcap at commit ad63453, spice/spice.py, whose
program is called as it is.  It needs Java, and Stanford CoreNLP 3.6.0 with its models, which the package downloads by
itself when first asked: here that is not done, and SPICE is offered only where the two jars are in its folder already.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval_harness.metrics._caption_words import about, grouped_words, jars, java_is_there

__all__ = ["about", "missing", "scores"]

_JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def missing() -> str | None:
    """What is not there and would be needed."""
    if not java_is_there():
        return "SPICE needs Java and pycocoevalcap"
    absent = [name for name in _JARS if not (jars() / "spice" / "lib" / name).is_file()]
    return f"SPICE needs {' and '.join(absent)} in pycocoevalcap's spice/lib" if absent else None


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Each caption's F of its scene graph's parts, in [0, 1]."""
    from pycocoevalcap.spice.spice import Spice

    said, wanted = grouped_words(predictions, references)
    names = range(len(said))
    _, found = Spice().compute_score(dict(zip(names, wanted, strict=True)), {name: [said[name]] for name in names})
    return [float(one["All"]["f"]) for one in found]
