"""The named prompts, written once; training and evaluation ask in the same words.

``short_answer`` and ``option_letter``, for questions that list their choices, are LLaVA-1.5's
(github.com/haotian-liu/LLaVA at commit 05f156c, docs/Evaluation.md); lmms-eval asks in the same words, DocVQA, ChartQA,
TextVQA and GQA in the one, ScienceQA in the other.  ``caption`` is lmms-eval's for COCO and Flickr30k
(github.com/EvolvingLMMs-Lab/lmms-eval at commit 2bb5e98, lmms_eval/tasks/coco_cap/coco2014_cap_val.yaml).
``answer_or_unanswerable`` is lmms-eval's for VizWiz (commit 75571cf,
lmms_eval/tasks/vizwiz_vqa/_default_template_vqa_yaml).
``as_written`` is for data that holds whole conversations.
``car_model`` is our own, and names what Stanford Cars' class names are made of; so is ``true_or_false``, for NLVR2's
statements, which neither LLaVA nor lmms-eval asks so.
"""

from __future__ import annotations

from mlplora_vlm.errors import MendableError, did_you_mean

PROMPTS = {
    "answer_or_unanswerable": "{question}\nWhen the provided information is insufficient, respond with 'Unanswerable'."
    "\nAnswer the question using a single word or phrase.",
    "as_written": "{question}",
    "caption": "Provide a one-sentence caption for the provided image.",
    "car_model": "Which car is this? Answer with its make, model, body type and year.",
    "option_letter": "{question}\nAnswer with the option's letter from the given choices directly.",
    "short_answer": "{question}\nAnswer the question using a single word or phrase.",
    "true_or_false": "{question}\nIs this statement about the two pictures true or false? Answer with true or false.",
}


def ask(prompt: str, question: str, where: str = "") -> str:
    """The user's text: the stripped question in the named prompt's words.

    Raises MendableError, naming ``where``, for an unknown name, for a question that the prompt would leave out, and for
    a prompt that adds words to a question that is not there.
    """
    if prompt not in PROMPTS:
        raise MendableError(
            f"there is no prompt {prompt!r}{did_you_mean(prompt, PROMPTS)}",
            "data_prep/prompts.py",
            f"one of: {', '.join(PROMPTS)}",
        )
    template, question = PROMPTS[prompt], question.strip()
    if question and "{question}" not in template:
        raise MendableError(
            f"prompt {prompt!r} would leave out the question {question[:80]!r}",
            where,
            "choose a prompt that asks it, such as short_answer or as_written",
        )
    if not question and "{question}" in template and template != "{question}":
        raise MendableError(
            f"prompt {prompt!r} needs a question, and there is none",
            where,
            "choose a prompt that says it all, such as caption, or take the row out of the data",
        )
    return template.format(question=question)
