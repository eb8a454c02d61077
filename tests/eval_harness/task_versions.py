"""What each task is, as a digest with its version: a task that changed without a new version is found.

``python tests/eval_harness/task_versions.py`` brings ``task_prompts.json`` and ``task_versions.json`` up to date. It
refuses to where a task's digest changed and its version was not raised: scores of one version are to be compared.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROMPTS_FILE = HERE / "task_prompts.json"
VERSIONS_FILE = HERE / "task_versions.json"

if __name__ == "__main__":  # pytest does this itself
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]

from official_sets import WRITERS  # noqa: E402
from tiny_llava import build_processor  # noqa: E402

from data_prep.collate import PromptCollator  # noqa: E402
from data_prep.example import Example  # noqa: E402
from data_prep.prompts import PROMPTS, ask  # noqa: E402
from data_prep.rows import strict  # noqa: E402
from data_prep.sources import open_source  # noqa: E402
from eval_harness.tasks import TASKS, Task  # noqa: E402
from mlplora_vlm.files import digest, read_json, write_json  # noqa: E402

Snapshot = dict[str, Any]


def rows(task: Task, folder: Path) -> list[Example]:
    """The rows of the source's small official set, written into ``folder``; all of them can be used."""
    if task.source in WRITERS:
        WRITERS[task.source](folder)
    return list(strict(open_source(task.source).rows(task.split, folder)))


def snapshot(task: Task, processor: Any) -> Snapshot:
    """The first row of the source's small set, what it is asked, and the text that a small model is sent for it."""
    with tempfile.TemporaryDirectory() as folder:
        first = rows(task, Path(folder))[0]
        return {
            "asked": ask(task.prompt, first.question),
            "sent": PromptCollator(processor, task.prompt).text(first),
            "pictures": len(first.images),
            "id": first.id,
            "category": first.category,
            "references": list(first.references),
        }


def snapshots() -> dict[str, Snapshot]:
    """Of every task."""
    processor = build_processor()
    return {name: snapshot(task, processor) for name, task in sorted(TASKS.items())}


def task_digest(task: Task, shown: Snapshot, fingerprint: Callable[[str], str]) -> str:
    """Changes with what is asked (its words, of which rows, how long an answer may be) and with how it is scored.

    Not with ``sent``: a small model's chat template is no part of a task.
    """
    own = {key: value for key, value in shown.items() if key != "sent"}
    asked = [task.source, task.split, PROMPTS[task.prompt], task.max_new_tokens, dict(task.options), own]
    return digest([asked, task.metric, fingerprint(task.metric)])


def current(
    tasks: Mapping[str, Task], shown: Mapping[str, Snapshot], fingerprint: Callable[[str], str]
) -> dict[str, dict[str, Any]]:
    """{task: {version, digest}} as the code has it."""
    return {
        name: {"version": task.version, "digest": task_digest(task, shown[name], fingerprint)}
        for name, task in sorted(tasks.items())
    }


def unraised(now: Mapping[str, Mapping[str, Any]], kept: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Tasks whose digest is not the kept one and whose version is not above it; and those of a lower version."""
    return [
        name
        for name in now.keys() & kept.keys()
        if now[name]["version"] < kept[name]["version"] + (now[name]["digest"] != kept[name]["digest"])
    ]


def metric_fingerprint() -> Callable[[str], str]:
    """A hash of a metric's scores over committed inputs."""
    from metric_fingerprint import fingerprint

    return fingerprint


def main(
    tasks: Mapping[str, Task] = TASKS,
    fingerprint: Callable[[str], str] | None = None,
    files: tuple[Path, Path] = (PROMPTS_FILE, VERSIONS_FILE),
) -> int:
    """Writes both files; 1, with the tasks' names, where a version has to be raised first, and neither is written."""
    prompts_file, versions_file = files
    shown = snapshots()
    now = current(tasks, shown, fingerprint or metric_fingerprint())
    kept = read_json(versions_file) if versions_file.exists() else {}
    if names := unraised(now, kept):
        print(f"changed, and of the same version: {_listed(names)}: raise it in eval_harness/tasks.py", file=sys.stderr)
        return 1
    write_json(prompts_file, shown)
    write_json(versions_file, now)
    changed = [name for name in now if now[name] != kept.get(name)]
    print(f"written; new or of a new version: {_listed(changed) or 'none'}")
    return 0


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


if __name__ == "__main__":
    sys.exit(main())
