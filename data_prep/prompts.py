"""The named prompts, written once; training and evaluation ask in the same words.

Sources: LLaVA-1.5 (github.com/haotian-liu/LLaVA, docs/Evaluation.md).
"""

from __future__ import annotations

from mlplora_vlm.errors import MendableError, did_you_mean

PROMPTS = {
    "short_answer": "{question}\nAnswer the question using a single word or phrase.",
}


def ask(prompt: str, question: str) -> str:
    """The user's text: the stripped question in the named prompt's words; MendableError for an unknown name."""
    if prompt not in PROMPTS:
        raise MendableError(
            f"there is no prompt {prompt!r}{did_you_mean(prompt, PROMPTS)}",
            "data_prep/prompts.py",
            f"one of: {', '.join(PROMPTS)}",
        )
    return PROMPTS[prompt].format(question=question.strip())
