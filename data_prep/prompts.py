"""The named prompts, written once; training and evaluation ask in the same words.

Sources: LLaVA-1.5 (github.com/haotian-liu/LLaVA, docs/Evaluation.md).
"""

PROMPTS = {
    "short_answer": "{question}\nAnswer the question using a single word or phrase.",
}
