"""Our metrics through Hugging Face's ``evaluate``, without network, in a process of its own as a user has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
import evaluate

print(json.dumps([evaluate.load("eval_harness/as_evaluate.py", name).compute(**given)
                  for name, given in json.loads(sys.argv[1])]))
"""


@pytest.mark.slow
def test_mean_scores_and_figures(tmp_path: Path) -> None:
    pair = {"ids": ["1/a", "1/b"], "categories": ["OCR", "OCR"]}
    asked = [
        ("vqa_accuracy", {"predictions": ["red", "Yes"], "references": [["red"] * 10, ["yes"] * 10]}),
        ("yes_no", {"predictions": ["yes", "no", "no"], "references": ["yes", "yes", "no"]}),
        ("yes_no", {"predictions": ["no"], "references": ["no"]}),
        ("mme", {"predictions": ["yes", "no"], "references": ["yes", "yes"], **pair}),
        ("choice_lenient", {"predictions": ["a cat"], "references": ["B"], "questions": ["What?\nA. dog\nB. cat"]}),
        ("cider", {"predictions": ["A dog.", "a cat"], "references": [["a dog", "dogs"], ["a bird"]]}),
    ]
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, json.dumps(asked)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    vqa, five, none, pictures, choice, captions = json.loads(run.stdout.splitlines()[-1])
    assert vqa == {"vqa_accuracy": 0.5, "scores": [1.0, 0.0], "figures": {}, "about": {}}
    assert five["figures"]["F1"] == pytest.approx(2 / 3) and five["yes_no"] == pytest.approx(2 / 3)
    assert none["figures"]["precision"] is None
    assert pictures["figures"] == {"OCR accuracy": 0.5, "OCR accuracy+": 0.0, "perception, 1 of 10 subtasks": 50.0}
    assert choice["choice_lenient"] == 1.0
    assert captions["scores"][0] > captions["scores"][1] and captions["about"]["tokeniser"]
