"""run.log holds what a run and its processes print, each progress bar in its last state alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

CODE = """
import subprocess, sys
from pathlib import Path
from recipes.log import logged
with logged(Path(sys.argv[1])):
    print("from python")
    subprocess.run(["sh", "-c", "printf '10%%\\\\r50%%\\\\r100%%\\\\n'; echo from a child >&2"])
    subprocess.Popen(["sleep", "30"])  # lives on, and must not keep anybody waiting
print("after")
"""


def test_log_and_terminal_get_everything_and_nothing_waits(tmp_path):
    begun = time.monotonic()
    done = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path / "run.log")],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert done.wait(20) == 0 and time.monotonic() - begun < 20
    log = (tmp_path / "run.log").read_text().splitlines()
    assert sorted(log) == ["100%", "from a child", "from python"]
    printed = done.stdout.readline() + done.stdout.readline()
    assert "from python" in printed
