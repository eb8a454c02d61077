"""docs/tasks.md's table: every evaluation task from its row, with published scores and what is special about it.

The published scores are LLaVA-1.5-7B's (Liu et al., arXiv 2310.03744), to check a real run against; they are to be
compared where split and prompt are the same.
"""

from __future__ import annotations

from eval_harness.tasks import TASKS

REFERENCES = {
    "gqa_testdev": "62.0",
    "mmbench_dev_circular": "64.3",
    "pope_adversarial": "85.9, the mean F1 of the three",
    "pope_popular": "85.9, the mean F1 of the three",
    "pope_random": "85.9, the mean F1 of the three",
    "scienceqa_test_img": "66.8",
    "seed_bench_image": "66.1 (58.6 with the videos)",
    "textvqa_val_ocr": "58.2",
    "vizwiz_val": "50.0 on test-dev, not comparable",
    "vqav2_val": "78.5 on test-dev, not comparable",
}
_CHOICES = "choices under letters"
_CAPTIONS = "CIDEr-D: a score's words are weighed over the rows that are asked"
SPECIAL = {
    "ai2d_test": f"{_CHOICES}; letters are drawn over the labels where the data says so (abcLabel)",
    "chartqa_test": "5 % on numbers, exact otherwise; categories human and augmented",
    "coco_captions_karpathy_test": f"Karpathy's 5,000 test pictures, which papers report; {_CAPTIONS}",
    "coco_captions_val": "all of val2014, on which papers do not report",
    "docvqa_val": "ANLS, threshold 0.5",
    "flickr30k_test": f"Karpathy's 1,000 test pictures; {_CAPTIONS}",
    "gqa_testdev": "balanced questions",
    "info_vqa_val": "ANLS, threshold 0.5",
    "mmbench_dev": f"{_CHOICES}, hint first, as LLaVA-1.5 asks (lmms-eval: in one line, with a sentence before the "
    "choices); each question once",
    "mmbench_dev_circular": "right where every rotation of the choices is; papers report this",
    "mme_all": "accuracy and accuracy+ (both questions of a picture); perception and cognition apart; “Please answer "
    "yes or no.” is taken off, as LLaVA-1.5 and lmms-eval do",
    "nlvr2_test1": "two pictures; the public test; the prompt is our own",
    "no_caps_val": f"categories in-domain, near-domain, out-domain; {_CAPTIONS}",
    "ok_vqa_val": "lmms-eval adds VizWiz's sentence on what cannot be answered to its prompt",
    "pope_adversarial": "strict yes or no (lmms-eval's), and of the first sentence (LLaVA-1.5's)",
    "pope_popular": "strict yes or no (lmms-eval's), and of the first sentence (LLaVA-1.5's)",
    "pope_random": "strict yes or no (lmms-eval's), and of the first sentence (LLaVA-1.5's); 3,000 questions, "
    "LLaVA-1.5's file had 2,910",
    "scienceqa_test_img": f"only questions with a picture; {_CHOICES}, the hint as context",
    "seed_bench_image": f"only questions about pictures; {_CHOICES}",
    "shapes_sixteen": "learnt by heart: never a score",
    "stanford_cars_test": "the OP-LoRA paper's closed set of 196: right is the class name in full",
    "textvqa_val": "the M4C evaluator's normalisation, as LLaVA-1.5 and lmms-eval score it; LLaVA-1.5's 58.2 is with "
    "OCR tokens",
    "textvqa_val_ocr": "Rosetta's OCR tokens in the prompt; the M4C evaluator's normalisation, as LLaVA-1.5 scores it; "
    "the question begins with a capital letter, as there",
    "vizwiz_val": "“Unanswerable” is asked for; the challenge's script normalises predictions alone, lmms-eval both "
    "sides: the further metric",
    "vqav2_val": "answers are normalised where the annotators disagree, as the official script does",
}


def task_table() -> tuple[list[str], list[list[str]]]:
    """(heads, rows), one row a task."""
    heads = ["task", "source", "split", "prompt", "metric", "further metrics", "tokens", "version"]
    rows = []
    for name, task in sorted(TASKS.items()):
        row = [f"`{name}`", f"`{task.source}`", task.split, f"`{task.prompt}`", f"`{task.metric}`"]
        row += [", ".join(f"`{metric}`" for metric in task.also) or "–", str(task.max_new_tokens), str(task.version)]
        rows.append([*row, REFERENCES.get(name, "–"), SPECIAL.get(name, "–")])
    return [*heads, "LLaVA-1.5-7B", "what is special"], rows
