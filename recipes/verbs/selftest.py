"""Checks within five minutes what a CPU machine cannot: CUDA, NCCL, 4-bit kernels, paged moments, offload and more.

Tiny models, against fp32 on the CPU.  Each check is a process of its own with a time limit, so a crash is a line of the
report.  What this machine cannot run is listed with its reason.  OUT/selftest.json is what to attach to a report, and
OUT/selftest.txt the same for people.  Exits with 1 where a check failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import claim_folder, write_json, write_text

EXAMPLES = """\
  bash recipes/selftest.sh
  python -m recipes selftest --only NF4 ZeRO-2 --out /tmp/selftest
  python -m recipes selftest --list
"""
MARK = "selftest-figure:"
MINUTES, EACH = 5.0, 90
"""The whole, and the seconds of one check."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``selftest``."""
    parser.add_argument("--out", type=Path, default=Path("out/selftest"), help="folder of the report (out/selftest)")
    parser.add_argument("--only", nargs="+", metavar="CHECK", help="these checks alone")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no check starts after that (5)")
    parser.add_argument("--each", type=float, default=EACH, help="seconds that one check may take (90)")
    parser.add_argument("--list", action="store_true", help="the checks, and what keeps them from running here")
    parser.add_argument("--one", metavar="CHECK", help=argparse.SUPPRESS)  # a check's own process


def run(given: argparse.Namespace) -> int:
    """0: all that could run passed; 1: something failed."""
    from recipes.self_checks import CHECKS

    for name in [*(given.only or []), *([given.one] if given.one else [])]:
        if name not in CHECKS:
            raise MendableError(f"there is no check {name!r}{did_you_mean(name, CHECKS)}", "selftest", "see --list")
    if given.one:
        print(f"{MARK} {CHECKS[given.one].figure()!r}", flush=True)
        return 0
    if given.list:
        for name, check in CHECKS.items():
            print(f"{name:26} {check.missing() or check.about}")
        return 0
    claim_folder(given.out, "selftest.json")
    begun = time.monotonic()

    def row_of(name: str) -> dict[str, Any]:
        if time.monotonic() - begun > 60 * given.minutes:
            row = {"check": name, "result": "not run", "why": f"{given.minutes:g} minutes are over"}
        else:
            row = checked(name, given.each)
        print(line(row), flush=True)
        return row

    wanted = given.only or list(CHECKS)
    alone = [name for name in wanted if not CHECKS[name].ranks]
    found: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(max(1, min(4, len(os.sched_getaffinity(0)) // 2))) as several:
        found |= zip(alone, several.map(row_of, alone), strict=True)
    found |= {name: row_of(name) for name in wanted if CHECKS[name].ranks}  # these take all GPUs
    rows = [found[name] for name in wanted]
    report = {"environment": environment(), "seconds": round(time.monotonic() - begun, 1), "checks": rows}
    write_json(given.out / "selftest.json", report)
    write_text(given.out / "selftest.txt", text(report))
    counts = {what: sum(row["result"] == what for row in rows) for what in ("passed", "failed", "not run")}
    print(f"{', '.join(f'{number} {what}' for what, number in counts.items())}; attach {given.out / 'selftest.json'}")
    return 1 if counts["failed"] else 0


def checked(name: str, seconds: float) -> dict[str, Any]:
    """One check in a process of its own: passed, failed, or not run and why."""
    from recipes.self_checks import CHECKS, processes

    check = CHECKS[name]
    row: dict[str, Any] = {"check": name, "about": check.about, "bound": check.bound}
    if why := check.missing():
        return row | {"result": "not run", "why": why}
    ranks = processes() if check.ranks else 1
    command = [sys.executable, "-m", "recipes", "selftest", "--one", name]
    if check.ranks:
        command[1:3] = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "-m", "recipes"]
    begun = time.monotonic()
    status, out, errors = finished(command, seconds)
    row |= {"ranks": ranks, "seconds": round(time.monotonic() - begun, 1)}
    figures = [float(words.partition(MARK)[2]) for words in out.splitlines() if MARK in words]
    if status is None:
        return row | {"result": "failed", "why": f"not done after {seconds:g} seconds", "said": errors[-2000:]}
    if status or len(figures) < ranks:
        told = [words for words in errors.splitlines() if words.strip()]
        last = next(
            (words for words in reversed(told) if "Error" in words), told[-1] if told else f"exit code {status}"
        )
        return row | {"result": "failed", "why": last.strip()[:300], "said": errors[-4000:]}
    figure = max(figures)
    passed = figure <= check.bound  # NaN is not
    return (
        row
        | {"result": "passed" if passed else "failed", "figure": figure if figure == figure else None}
        | ({} if passed else {"why": f"{figure:.1e} is above {check.bound:.0e}"})
    )


def finished(command: list[str], seconds: float) -> tuple[int | None, str, str]:
    """(exit status, or None where it took too long and was ended with all that it started; its output; its errors)."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment.setdefault("OMP_NUM_THREADS", "1")
    if _no_gpu():
        environment["DS_ACCELERATOR"] = "cpu"
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, errors = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)  # its own session: torchrun's ranks too
        out, errors = running.communicate()
        return None, out, errors
    return running.returncode, out, errors


def _no_gpu() -> bool:
    from mlplora_vlm.load import best_device

    return best_device() != "cuda"


def environment() -> dict[str, Any]:
    """What a report needs to know of the machine: no path and no name of anyone."""
    import platform

    import torch

    from mlplora_vlm import provenance

    packages = (
        "torch",
        "transformers",
        "peft",
        "bitsandbytes",
        "deepspeed",
        "accelerate",
        "flash-attn",
        "liger-kernel",
    )
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return {
        "commit": provenance.commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": provenance.device(),
        "gpus": [{"name": gpu.name, "gib": round(gpu.total_memory / 2**30, 1), "capability": f"{gpu.major}.{gpu.minor}"}
                 for gpu in gpus],
        "cuda": torch.version.cuda,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if gpus else None,
        "versions": provenance.versions(packages),
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """A check in one line."""
    figure = f"{row['figure']:.1e} (bound {row['bound']:.0e})" if row.get("figure") is not None else ""
    took = f"{row['seconds']:.0f} s" if "seconds" in row else ""
    ranks = f"{row['ranks']} ranks" if row.get("ranks", 1) > 1 else ""
    return "  ".join(
        part for part in (f"{row['result']:8}{row['check']:26}", figure, row.get("why", ""), ranks, took) if part
    )


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    about = report["environment"]
    heads = [
        f"selftest, commit {about['commit']}, {report['seconds']:.0f} s",
        f"{about['device']}; Python {about['python']}, {about['system']}; CUDA {about['cuda']}, NCCL {about['nccl']}",
        ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "",
    ]
    rows = [line(row) for row in report["checks"]]
    said = [f"\n{row['check']}:\n{row['said']}" for row in report["checks"] if row.get("said")]
    return "\n".join([*heads, *rows, *said, ""])
