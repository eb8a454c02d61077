"""A few rows, and how each of the formats that users have writes them."""

from __future__ import annotations

import base64
import csv
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data_prep.example import PICTURE


@dataclass(frozen=True)
class Row:
    """What each format has to say: (question, answer) turns with a `PICTURE` where one stands, and their files."""

    turns: tuple[tuple[str, str], ...]
    images: tuple[str, ...] = ()
    system: str = ""

    @property
    def question(self) -> str:
        """The first question's words."""
        return self.turns[0][0].replace(PICTURE, "")

    @property
    def answer(self) -> str:
        return self.turns[0][1]


ROWS = (
    Row(((f"{PICTURE}what is it?", "a red shape"),), ("a.jpg",)),
    Row(((f"{PICTURE}{PICTURE}which is blue?", "the second"),), ("a.jpg", "b.jpg")),
    Row(((f"{PICTURE}what is it?", "a shape"), ("and its colour?", "blue")), ("b.jpg",)),
    Row((("why?", "so"),)),
    Row(((f"{PICTURE}is it red?", "yes"),), ("a.jpg",), "Be brief."),
    Row(((f"{PICTURE}is it red?", "yes"), (f"{PICTURE}and this?", "no")), ("a.jpg", "b.jpg")),
    Row(((f"is {PICTURE} like {PICTURE} or not?", "no"),), ("b.jpg", "a.jpg")),
    Row(((PICTURE, "a blue shape"),), ("b.jpg",)),
    Row(((f"{PICTURE}which colour?\nA. red\nB. blue", "B"),), ("b.jpg",)),
)
Rows = list[Row]


def file_of(folder: Path, *rows: dict) -> None:
    """The rows as JSON lines."""
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def turns(row: Row, roles: tuple[str, str, str], role: str, text: str, *, marks: Iterable[str] = ()) -> list[dict]:
    """The row's turns as objects with these keys and roles (system, user, assistant), a mark for each picture.

    As LLaVA has it, leading marks stand in lines of their own.
    """
    marks, said = iter(marks or ["<image>"] * len(row.images)), [(roles[0], row.system)] * bool(row.system)
    for question, answer in row.turns:
        own = "\n" * question.startswith(PICTURE)
        asked = "".join(next(marks) + own if sign == PICTURE else sign for sign in question)
        said += [(roles[1], asked), (roles[2], answer)]
    return [{role: name, text: words} for name, words in said]


def llava(folder: Path, rows: Rows) -> None:
    spoken = [turns(row, ("system", "human", "gpt"), "from", "value") for row in rows]
    named = [
        {"image": row.images[0] if len(row.images) == 1 else list(row.images)} if row.images else {} for row in rows
    ]
    (folder / "train.json").write_text(
        json.dumps([{"id": "1", **image, "conversations": said} for image, said in zip(named, spoken, strict=True)])
    )


def sharegpt(folder: Path, rows: Rows) -> None:
    names = ("system", "human", "gpt")
    file_of(
        folder, *({"conversations": turns(row, names, "from", "value"), "images": list(row.images)} for row in rows)
    )


def sharegpt_by_role(folder: Path, rows: Rows) -> None:
    names = ("system", "user", "assistant")
    file_of(folder, *({"messages": turns(row, names, "role", "content"), "images": list(row.images)} for row in rows))


def messages(row: Row, part: Callable[[str], dict]) -> list[dict]:
    """The row's messages in parts, ``part`` of each picture's name."""
    names, said = iter(row.images), [("system", row.system)] * bool(row.system)
    said += [pair for turn in row.turns for pair in zip(("user", "assistant"), turn, strict=True)]
    made = []
    for role, text in said:
        first, *rest = text.split(PICTURE)
        parts = [{"type": "text", "text": first}]
        for piece in rest:
            parts += [part(next(names)), {"type": "text", "text": piece}]
        made.append({"role": role, "content": parts})
    return made


def named(name: str) -> dict:
    return {"type": "image", "image": name}


def messages_parts(folder: Path, rows: Rows) -> None:
    file_of(folder, *({"messages": messages(row, named)} for row in rows))


def messages_base64(folder: Path, rows: Rows) -> None:
    def bare(name: str) -> dict:
        return {"type": "image", "image": base64.b64encode((folder / name).read_bytes()).decode()}

    def framed(name: str) -> dict:
        return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{bare(name)['image']}"}}

    file_of(folder, *({"messages": messages(row, (bare, framed)[n % 2])} for n, row in enumerate(rows)))


def messages_slots(folder: Path, rows: Rows) -> None:
    given = ({"messages": messages(row, lambda _: {"type": "image"}), "images": list(row.images)} for row in rows)
    file_of(folder, *given)


def messages_column(folder: Path, rows: Rows) -> None:
    names = ("system", "user", "assistant")
    spoken = [turns(row, names, "role", "content", marks=[""] * len(row.images)) for row in rows]
    file_of(folder, *({"messages": said, "images": list(row.images)} for row, said in zip(rows, spoken, strict=True)))


def messages_completion(folder: Path, rows: Rows) -> None:
    spoken = [messages(row, named) for row in rows]
    answer = [next(place for place, turn in enumerate(said) if turn["role"] == "assistant") for said in spoken]
    rows_ = zip(spoken, answer, strict=True)
    file_of(folder, *({"prompt": said[:first], "completion": said[first:]} for said, first in rows_))


def qwen_vl_named(folder: Path, rows: Rows) -> None:
    names = ("system", "user", "assistant")
    marks = [[f"Picture {number}: <img>{name}</img>" for number, name in enumerate(row.images, 1)] for row in rows]
    spoken = [turns(row, names, "from", "value", marks=mark) for row, mark in zip(rows, marks, strict=True)]
    file_of(folder, *({"id": "identity_1", "conversations": said} for said in spoken))


def columns(row: Row) -> dict:
    """The row as a table's, with markers only where the pictures do not lead."""
    question = row.turns[0][0].replace(PICTURE, "" if leads(row) else "<image>")
    return {"question": question, "answer": row.answer, "system": row.system, "image": list(row.images)}


def table_csv(folder: Path, rows: Rows) -> None:
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["question", "answer", "system", "image"])
        table.writeheader()
        table.writerows(columns(row) | {"image": json.dumps(row.images) if row.images else ""} for row in rows)


def table_jsonl(folder: Path, rows: Rows) -> None:
    file_of(folder, *map(columns, rows))


def image_folder(folder: Path, rows: Rows) -> None:
    lines = ({"file_name": row.images[0], "question": row.question, "text": row.answer} for row in rows)
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    for path in folder.glob("*.jpg"):
        if path.name not in {row.images[0] for row in rows}:
            path.unlink()  # every picture there is a row


def image_folder_captions(folder: Path, rows: Rows) -> None:
    image_folder(folder, rows)
    (folder / "metadata.jsonl").unlink()
    for row in rows:
        (folder / row.images[0]).with_suffix(".txt").write_text(row.answer, encoding="utf-8")


def parquet(folder: Path, rows: Rows) -> None:
    """The pictures' files inside, as `datasets` writes them."""
    from datasets import Dataset, Features, Value
    from datasets import Image as Picture

    made = [
        columns(row) | {"image": [{"bytes": (folder / n).read_bytes(), "path": n} for n in row.images]} for row in rows
    ]
    text = dict.fromkeys(("question", "answer", "system"), Value("string"))
    Dataset.from_list(made, features=Features(text | {"image": [Picture()]})).to_parquet(folder / "train.parquet")


def parquet_messages(folder: Path, rows: Rows) -> None:
    from datasets import Dataset, Features, Value
    from datasets import Image as Picture

    def part(_: str) -> dict:
        return {"type": "image"}

    made = [
        {
            "messages": messages(row, part),
            "images": [{"bytes": (folder / n).read_bytes(), "path": n} for n in row.images],
        }
        for row in rows
    ]
    parts = [{"type": Value("string"), "text": Value("string")}]
    features = Features({"messages": [{"role": Value("string"), "content": parts}], "images": [Picture()]})
    Dataset.from_list(made, features=features).to_parquet(folder / "train.parquet")


def put(path: Path, picture: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(picture, path)


def official(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def vqav2(folder: Path, rows: Rows) -> None:
    asked, answered = [], []
    for number, row in enumerate(rows):
        put(folder / f"train2014/COCO_train2014_{number:012d}.jpg", folder / row.images[0])
        ids = {"image_id": number, "question_id": number}
        given = [{"answer": row.answer, "answer_confidence": "yes", "answer_id": n} for n in range(1, 11)]
        asked.append(ids | {"question": row.question})
        answered.append(ids | {"multiple_choice_answer": row.answer, "answers": given, "answer_type": "other"})
    official(folder / "v2_OpenEnded_mscoco_train2014_questions.json", {"questions": asked})
    official(folder / "v2_mscoco_train2014_annotations.json", {"annotations": answered})


def textvqa(folder: Path, rows: Rows) -> None:
    asked = []
    for number, row in enumerate(rows):
        put(folder / f"train_images/{number:016x}.jpg", folder / row.images[0])
        named = {"question_id": number, "image_id": f"{number:016x}"}
        asked.append(named | {"question": row.question, "answers": [row.answer] * 10})
    official(folder / "TextVQA_0.5.1_train.json", {"data": asked})


def gqa(folder: Path, rows: Rows) -> None:
    asked = {}
    for number, row in enumerate(rows):
        put(folder / f"images/{number}.jpg", folder / row.images[0])
        named = {"imageId": str(number), "types": {"structural": "query"}}
        asked[str(number)] = named | {"question": row.question, "answer": row.answer}
    official(folder / "train_balanced_questions.json", asked)


def scienceqa(folder: Path, rows: Rows) -> None:
    problems = {}
    for number, row in enumerate(rows):
        question, *choices = row.question.splitlines()
        if row.images:
            put(folder / f"images/train/{number}/image.png", folder / row.images[0])
        problems[str(number)] = {
            "question": question,
            "choices": [choice[len("A. ") :] for choice in choices],
            "answer": ord(row.answer) - ord("A"),
            "hint": "",
            "image": "image.png" if row.images else None,
            "subject": "natural science",
        }
    official(folder / "problems.json", problems)
    official(folder / "pid_splits.json", {"train": list(problems)})


def coco_captions(folder: Path, rows: Rows) -> None:
    images, captions = [], []
    for number, row in enumerate(rows):
        images.append({"id": number, "file_name": f"COCO_train2014_{number:012d}.jpg"})
        captions.append({"id": number + 100, "image_id": number, "caption": row.answer})
        put(folder / "train2014" / images[-1]["file_name"], folder / row.images[0])
    official(folder / "annotations/captions_train2014.json", {"images": images, "annotations": captions})


def flickr30k(folder: Path, rows: Rows) -> None:
    images = []
    for number, row in enumerate(rows):
        said = [{"raw": row.answer, "sentid": number, "imgid": number}]
        images.append({"filename": f"{number}.jpg", "imgid": number, "split": "train", "sentences": said})
        put(folder / f"flickr30k-images/{number}.jpg", folder / row.images[0])
    official(folder / "dataset_flickr30k.json", {"images": images})


def every(row: Row) -> bool:
    return True


def leads(row: Row) -> bool:
    """All pictures stand before the first question."""
    return row.turns[0][0].startswith(PICTURE * len(row.images))


def one_answer(row: Row) -> bool:
    """One question, in words, and its answer."""
    return len(row.turns) == 1 and bool(row.question)


def one_question(row: Row) -> bool:
    """The same about one picture, and nothing else."""
    return one_answer(row) and len(row.images) == 1 and not row.system


def choices(row: Row) -> bool:
    return row.question.count("\n") > 1


def caption(row: Row) -> bool:
    return row.turns[0][0] == PICTURE and len(row.turns) == 1


FORMATS: dict[str, tuple[str, Callable[[Path, Rows], None], Callable[[Row], bool]]] = {
    "llava_conversations": ("llava_conversations", llava, every),
    "sharegpt": ("sharegpt", sharegpt, every),
    "sharegpt by role": ("sharegpt", sharegpt_by_role, every),
    "messages in parts": ("messages", messages_parts, every),
    "messages in base64": ("messages", messages_base64, every),
    "messages with a column that parts show": ("messages", messages_slots, every),
    "messages with a column": ("messages", messages_column, leads),
    "messages as prompt and completion": ("messages", messages_completion, every),
    "qwen_vl": ("qwen_vl", llava, every),
    "qwen_vl named in the text": ("qwen_vl", qwen_vl_named, every),
    "table of csv": ("table", table_csv, one_answer),
    "table of jsonl": ("table", table_jsonl, one_answer),
    "image_folder": ("image_folder", image_folder, one_question),
    "image_folder of captions": ("image_folder", image_folder_captions, caption),
    "parquet": ("parquet", parquet, one_answer),
    "parquet of messages": ("parquet", parquet_messages, every),
    "hub": ("hub", parquet, one_answer),
    "hub of messages": ("hub", parquet_messages, every),
    "vqav2": ("vqav2", vqav2, one_question),
    "textvqa": ("textvqa", textvqa, one_question),
    "gqa": ("gqa", gqa, one_question),
    "scienceqa": ("scienceqa", scienceqa, choices),
    "coco_captions": ("coco_captions", coco_captions, caption),
    "flickr30k": ("flickr30k", flickr30k, caption),
}
"""By name: the source, how a folder of it is written, and which rows it can hold."""
