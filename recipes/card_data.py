"""A model card's metadata in the hub's form, checked by huggingface_hub, and its data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from data_prep.public_sets import BUNDLED, SETS
from eval_harness import facts, numbers
from mlplora_vlm.errors import MendableError
from mlplora_vlm.publish import OURS
from recipes.markdown import escaped, link, table

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

    from recipes.card import Subject

TASK = "image-text-to-text"
HUB = "https://huggingface.co/datasets"
_OWN = "not part of this page; ask whoever trained it"


def metadata(result: Mapping[str, Any], subject: Subject) -> ModelCardData:
    """What stands between the card's dashes: nothing about rows learnt by heart counts as a result."""
    from huggingface_hub import ModelCardData

    adapter = facts.at(result, "recipe", "resolved", "adapter") or {}
    results = [] if facts.by_heart(result) else list(eval_results(result))
    scores: dict[str, Any] = {}
    if results:
        scores = {"model_name": subject.repo.rpartition("/")[2], "eval_results": results}
        scores["metrics"] = sorted({one.metric_type for one in results})
    tags = [
        "op-lora" if adapter.get("generated") else None,
        adapter.get("kind"),
        "vision-language",
        OURS.replace("_", "-"),
    ]
    repos = sorted({part["repo"] for _, part in _sections(result) if part.get("source") == "hub" and part.get("repo")})
    more: dict[str, Any] = {OURS: {"base": subject.base, "recipe": str(facts.at(result, "recipe", "name") or "")}}
    if subject.base_on_hub:
        relation = "adapter" if subject.kind == "adapter" else "finetune"
        more = {"base_model": subject.base, "base_model_relation": relation, **more}
    return ModelCardData(
        license=subject.licence.id,
        license_name=subject.licence.name,
        license_link=subject.licence.link,
        library_name="peft" if subject.kind == "adapter" else "transformers",
        pipeline_tag=TASK,
        tags=[str(tag) for tag in tags if tag],
        datasets=repos or None,
        **scores,
        **more,
    )


def eval_results(result: Mapping[str, Any]) -> Iterator[EvalResult]:
    """The tuned model's score in each category; N, interval and the base's score stand in the metric's arguments."""
    from huggingface_hub import EvalResult

    before, after = (facts.at(result, "scores", when) or {} for when in ("before", "after"))
    task, metric = str(after.get("task")), str(after.get("metric"))
    source = _source_of(result, task)
    titles = {each.source: each.title for each in SETS} | {name: about["title"] for name, about in BUNDLED.items()}
    for category, cell in (after.get("scores") or {}).items():
        if not numbers.known(cell.get("score")):
            continue
        earlier = (before.get("scores") or {}).get(category) or {}
        about: dict[str, Any] = {"n": cell.get("n"), **_bounds(cell), "category": category}
        if numbers.known(earlier.get("score")):
            about["before"] = {"value": round(earlier["score"], 4), **_bounds(earlier)}
        asked = {"task": task, "version": after.get("version"), "sample": after.get("sample")}
        yield EvalResult(
            task_type=TASK,
            dataset_type=source,
            dataset_name=titles.get(source, source),
            dataset_split=str(after.get("split")),
            dataset_args={key: value for key, value in asked.items() if value is not None},
            metric_type=metric,
            metric_name=metric if category == "overall" else f"{metric}, {category}",
            metric_value=round(cell["score"], 4),
            metric_args={key: value for key, value in about.items() if value is not None},
        )


def check(text: str, wanted: ModelCardData) -> None:
    """Reads the card as the hub's client does; raises `MendableError` unless it finds just what was put in."""
    from huggingface_hub import ModelCard

    try:
        found: Any = ModelCard(text).data
        same = found.to_dict() == wanted.to_dict() and (found.eval_results or []) == (wanted.eval_results or [])
    except ValueError as error:
        raise MendableError(f"the card's metadata cannot be read back: {error}", "README.md", "report it") from None
    if not same:
        raise MendableError("the card's metadata reads back otherwise than it was written", "README.md", "report it")


def data_table(result: Mapping[str, Any]) -> Markup:
    """Every source that was trained on and the one that was measured on, with its licence."""
    rows = []
    for use, part in _sections(result):
        name, source = part["name"], str(part.get("source"))
        public = next((each for each in SETS if each.source == source), None)
        split = str(part.get("split") or "")
        if public:
            rows.append([link(public.title, public.page), use, split, public.licence])
        elif source in BUNDLED:
            about = BUNDLED[source]
            title = link(about["title"], about["page"]) if about["page"] else about["title"]
            rows.append([title, use, split, about["licence"]])
        elif source == "hub" and part.get("repo"):
            rows.append([link(part["repo"], f"{HUB}/{part['repo']}"), use, split, "see the data set's own page"])
        else:
            rows.append([f"{name}: own data ({source})", use, split, _OWN])
    found = table(["data set", "used for", "split", "licence"], rows)
    trained = numbers.count(result.get("training_rows"))
    return Markup(f"{found}\n\n{escaped(trained)} rows were trained on; the model holds none of the pictures.")


def citations(result: Mapping[str, Any]) -> Markup:
    """How the public sets ask to be cited."""
    sources = {str(part.get("source")) for _, part in _sections(result)}
    cited = [each.citation for each in SETS if each.source in sources]
    cited += [about["citation"] for source, about in BUNDLED.items() if source in sources and about["citation"]]
    return Markup("; ").join(escaped(one) for one in cited)


def _sections(result: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what for, the section with its name) of each source."""
    data = facts.at(result, "recipe", "resolved", "data") or {}
    if data.get("source"):
        yield "training", {**data, "name": data["source"]}
    for name, part in (data.get("mixed_with") or {}).items():
        yield "training", {**part, "name": name}
    after = facts.at(result, "scores", "after") or {}
    if after:
        own = facts.at(result, "recipe", "resolved", "eval", "own") or {}
        source = _source_of(result, str(after.get("task")))
        yield "the scores", {**own, "source": source, "split": after.get("split"), "name": str(after.get("task"))}


def _source_of(result: Mapping[str, Any], task: str) -> str:
    """Which source a task reads."""
    from eval_harness.tasks import TASKS

    own = facts.at(result, "recipe", "resolved", "eval", "own") or {}
    return TASKS[task].source if task in TASKS else str(own.get("source") or task)


def _bounds(cell: Mapping[str, Any]) -> dict[str, list[float]]:
    low, high = cell.get("low"), cell.get("high")
    if not numbers.known(low) or not numbers.known(high):
        return {}
    return {"interval_95": [round(low, 4), round(high, 4)]}
