"""Small sets in exactly their authors' form, a writer for each source that reads official files.

Field names and nesting are those of the public files or their documentation, which each source's docstring cites; the
values are published examples where there are some.  Pictures are tiny, real and each of another colour.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", "": "JPEG"}


def picture(path: Path) -> None:
    """A picture of 24 × 16 pixels, its colour made of its name, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(path.name, _FORMATS[path.suffix.lower()]))


def encoded(name: str, form: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (24, 16), (sum(name.encode()) % 256, len(name) * 9 % 256, ord(name[0]))).save(out, form)
    return out.getvalue()


def as_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def as_lines(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def vqa_answers(*answers: str) -> list[dict[str, Any]]:
    return [{"answer": answer, "answer_confidence": "yes", "answer_id": n} for n, answer in enumerate(answers, 1)]


VQAV2 = [
    ({"image_id": 262148, "question": "Where is he looking?", "question_id": 262148000}, "other", ["down"] * 10),
    ({"image_id": 262148, "question": "Is he on a board?", "question_id": 262148001}, "yes/no", ["yes"] * 9 + ["no"]),
]


def vqav2(folder: Path) -> None:
    head = {"info": {"version": "2.0"}, "license": {}, "data_type": "mscoco", "data_subtype": "val2014"}
    questions = [question for question, _, _ in VQAV2]
    annotations = [
        {
            "question_type": "none of the above",
            "multiple_choice_answer": answers[0],
            "answers": vqa_answers(*answers),
            "image_id": question["image_id"],
            "answer_type": kind,
            "question_id": question["question_id"],
        }
        for question, kind, answers in VQAV2
    ]
    whole = head | {"task_type": "Open-Ended", "questions": questions}
    as_json(folder / "v2_OpenEnded_mscoco_val2014_questions.json", whole)
    as_json(folder / "v2_mscoco_val2014_annotations.json", head | {"annotations": annotations})
    picture(folder / "val2014" / "COCO_val2014_000000262148.jpg")


OK_VQA_QUESTIONS = [
    {"image_id": 297147, "question": "What sport can you use this for?", "question_id": 2971475},
    {"image_id": 339761, "question": "Name the type of plant this is?", "question_id": 3397615},
]
OK_VQA_ANNOTATIONS = [
    {
        "image_id": question["image_id"],
        "answer_type": "other",
        "question_type": kind,
        "question_id": question["question_id"],
        "answers": [
            {"answer_id": n, "raw_answer": raw, "answer_confidence": "yes", "answer": answer}
            for n, (raw, answer) in enumerate(given, 1)
        ],
        "confidence": 3,
    }
    for question, kind, given in zip(
        OK_VQA_QUESTIONS,
        ("four", "eight"),
        (
            [("racing", "race")] * 4 + [("motocross", "motocross")] * 4 + [("ride", "ride")] * 2,
            [("vine", "vine")] * 10,
        ),
        strict=True,
    )
]


def ok_vqa(folder: Path, questions: list = OK_VQA_QUESTIONS, annotations: list = OK_VQA_ANNOTATIONS) -> None:
    head = {"info": {"version": "1.0"}, "license": {}, "data_type": "mscoco", "data_subtype": "val2014"}
    whole = head | {"task_type": "Open-Ended", "questions": questions}
    as_json(folder / "OpenEnded_mscoco_val2014_questions.json", whole)
    kinds = {"question_types": {"four": "Sports and Recreation", "eight": "Plants and Animals"}}
    as_json(folder / "mscoco_val2014_annotations.json", head | kinds | {"annotations": annotations})
    for number in (297147, 339761):
        picture(folder / "val2014" / f"COCO_val2014_{number:012d}.jpg")


def textvqa_row(number: int, image: str, question: str, answers: list[str]) -> dict[str, Any]:
    return {
        "question": question,
        "image_id": image,
        "image_classes": ["Camera"],
        "flickr_original_url": "https://farm2.staticflickr.com/4/5566811_bc00d504a6_o.jpg",
        "flickr_300k_url": "https://farm2.staticflickr.com/4/5566811_bc00d504a6_o.jpg",
        "image_width": 1024,
        "image_height": 664,
        "answers": answers,
        "question_tokens": question.rstrip("?").split(),
        "question_id": number,
        "set_name": "val",
    }


TEXTVQA = [
    textvqa_row(
        34602, "003a8ae2ef43b901", "what is the brand of this camera?", ["nous les gosses", "dakota", *["dakota"] * 8]
    ),
    textvqa_row(34603, "0054c91397f2fe05", "what number is on the player's jersey?", ["22"] * 10),
]
OCR = [
    {
        "image_id": "003a8ae2ef43b901",
        "ocr_tokens": ["DAKOTA", "DIGITAL", "Single-Use", "Camera", "Pire", "digitat"],
        "ocr_info": [
            {
                "word": "DAKOTA",
                "bounding_box": {
                    "top_left_x": 0.49,
                    "top_left_y": 0.45,
                    "width": 0.05,
                    "height": 0.02,
                    "rotation": 0,
                    "roll": 0,
                    "pitch": 0,
                    "yaw": 0,
                },
            }
        ],
    },
    {"image_id": "0054c91397f2fe05", "ocr_tokens": [], "ocr_info": []},
]


def textvqa(folder: Path, ocr: list = OCR) -> None:
    head = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1"}
    as_json(folder / "TextVQA_0.5.1_val.json", head | {"data": TEXTVQA})
    named = {"dataset_name": "textvqa", "dataset_version": "0.2", "dataset_type": "val"}
    as_json(folder / "TextVQA_Rosetta_OCR_v0.2_val.json", named | {"data": ocr})
    for row in TEXTVQA:
        picture(folder / "train_images" / f"{row['image_id']}.jpg")


VIZWIZ = [
    {
        "image": "VizWiz_val_00000001.jpg",
        "question": "Can you tell me what this medicine is please?",
        "answers": [
            {"answer": answer, "answer_confidence": confidence}
            for answer, confidence in (
                ("no", "yes"),
                ("unanswerable", "yes"),
                ("night time", "maybe"),
                ("unanswerable", "yes"),
                ("night time", "maybe"),
                ("night time cold medicine", "maybe"),
                ("night time", "maybe"),
                ("night time", "maybe"),
                ("night time", "maybe"),
                ("night time medicine", "yes"),
            )
        ],
        "answer_type": "other",
        "answerable": 1,
    },
    {
        "image": "VizWiz_val_00000002.jpg",
        "question": "What is this?",
        "answers": [{"answer": "unanswerable", "answer_confidence": "yes"}] * 10,
        "answer_type": "unanswerable",
        "answerable": 0,
    },
]


def vizwiz(folder: Path, rows: list = VIZWIZ) -> None:
    as_json(folder / "Annotations" / "val.json", rows)
    for row in VIZWIZ:
        picture(folder / "val" / row["image"])


def gqa(folder: Path) -> None:
    entry = {
        "semantic": [{"operation": "select", "dependencies": [], "argument": "sky (2486325)"}],
        "entailed": ["02930160"],
        "equivalent": ["02930152"],
        "question": "Is the sky dark?",
        "imageId": "2354786",
        "isBalanced": True,
        "groups": {"global": None, "local": "06-sky_dark"},
        "answer": "yes",
        "semanticStr": "select: sky (2486325)->verify color: dark [0]",
        "annotations": {"answer": {}, "question": {"2": "2486325"}, "fullAnswer": {"2": "2486325"}},
        "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"},
        "fullAnswer": "Yes, the sky is dark.",
    }
    as_json(folder / "testdev_balanced_questions.json", {"02930152": entry})
    picture(folder / "images" / "2354786.jpg")


def scienceqa(folder: Path) -> None:
    pictured = {
        "question": "Which of these states is farthest north?",
        "choices": ["West Virginia", "Louisiana", "Arizona", "Oklahoma"],
        "answer": 0,
        "hint": "Look at the map.",
        "image": "image.png",
        "task": "closed choice",
        "grade": "grade2",
        "subject": "social science",
        "topic": "geography",
        "category": "Geography",
        "skill": "Read a map: cardinal directions",
        "lecture": "Maps have four cardinal directions, or main directions.",
        "solution": "To find the answer, look at the compass rose.",
        "split": "test",
    }
    text = pictured | {"question": "Is this a sentence?", "choices": ["yes", "no"], "image": None, "hint": ""}
    as_json(folder / "problems.json", {"4": text, "5": pictured})
    as_json(folder / "pid_splits.json", {"train": [], "val": [], "test": ["4", "5"], "minitrain": []})
    picture(folder / "images" / "test" / "5" / "image.png")


AI2D_QUESTIONS = {
    "imageName": "0.png",
    "questions": {
        "What is A in the diagram?": {
            "abcLabel": True,
            "answerTexts": ["ears", "nose", "mouth", "face"],
            "correctAnswer": 3,
            "questionId": "0.png-0",
        },
        "How many faces are shown?": {
            "abcLabel": False,
            "answerTexts": ["1", "2", "3", "4"],
            "correctAnswer": 0,
            "questionId": "0.png-1",
        },
    },
}
AI2D_ANNOTATION = {
    "arrowHeads": {},
    "arrows": {},
    "backgrounds": {"K0": {"category": "structural", "id": "K0"}},
    "blobs": {},
    "containers": {},
    "imageConsts": ["I0"],
    "imageName": "0.png",
    "relationships": {},
    "text": {"T0": {"id": "T0", "rectangle": [[2, 2], [14, 12]], "replacementText": "A", "value": "face"}},
}


def ai2d(folder: Path, questions: Any = AI2D_QUESTIONS, annotation: Any = AI2D_ANNOTATION) -> None:
    as_json(folder / "questions" / "0.png.json", questions)
    as_json(folder / "questions" / "10.png.json", AI2D_QUESTIONS | {"imageName": "10.png"})
    for name in ("0.png", "10.png"):
        as_json(folder / "annotations" / f"{name}.json", annotation)
        picture(folder / "images" / name)
    as_json(folder / "categories.json", {"0.png": "faceParts", "10.png": "foodWeb"})
    (folder / "ai2d_test_ids.csv").write_text("0\n3\n", encoding="utf-8")


MMBENCH_COLUMNS = (
    *("index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image"),
    *("source", "l2-category", "comment", "split"),
)


def mmbench_row(index: int, question: str, hint: str, choices: list[str], answer: str) -> list[str]:
    image = base64.b64encode(encoded(f"{index % 1_000_000}.jpg")).decode()
    asked = [str(index), question, hint, *choices, *[""] * (4 - len(choices)), answer, "image_style", image]
    return [*asked, "places", "coarse_perception", "nan", "dev"]


MMBENCH = [
    mmbench_row(
        241, "Which one is the correct caption of this image?", "", ["A man", 'A "dog"', "A cat", "A car"], "C"
    ),
    mmbench_row(252, "Does the map show a state?", "The map shows\na country.", ["yes", "no"], "A"),
    mmbench_row(
        1_000_241, "Which one is the correct caption of this image?", "", ['A "dog"', "A cat", "A car", "A man"], "B"
    ),
]


def mmbench(folder: Path, rows: list = MMBENCH) -> None:
    with (folder / "mmbench_dev_20230712.tsv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([MMBENCH_COLUMNS, *rows])


SEED = [
    {
        "answer": "A",
        "choice_a": "One",
        "choice_b": "Two",
        "choice_c": "Three",
        "choice_d": "Four",
        "data_id": "1454426_2591111986",
        "data_type": "image",
        "question": "How many towels are in the image?",
        "question_id": "101669",
        "question_type_id": 5,
    },
    {
        "answer": "B",
        "choice_a": "throwing something in the air and letting it fall",
        "choice_b": "throwing something in the air and catching it",
        "choice_c": "lifting up one end of something, then letting it drop down",
        "choice_d": "poking something so that it falls over",
        "data_id": "94328.webm",
        "data_type": "video",
        "question": "What is the action being carried out in the video?",
        "question_id": "v1738",
        "question_type_id": 10,
    },
]


def seed_bench(folder: Path, questions: list = SEED) -> None:
    kinds = {"Instances Counting": 5, "Action Recognition": 10}
    as_json(folder / "SEED-Bench.json", {"question_type": kinds, "questions": questions})
    picture(folder / "SEED-Bench-image" / "1454426_2591111986")


POPE = [
    {
        "question_id": number,
        "image": "COCO_val2014_000000310196.jpg",
        "text": f"Is there a {thing} in the image?",
        "label": label,
    }
    for number, thing, label in ((1, "snowboard", "yes"), (2, "backpack", "no"))
]


def pope(folder: Path, rows: list = POPE) -> None:
    for subset in ("random", "popular", "adversarial"):
        as_lines(folder / f"coco_pope_{subset}.json", rows)
    picture(folder / "val2014" / "COCO_val2014_000000310196.jpg")


MME_APART = ("posters", "celebrity", "scene", "landmark", "artwork")
MME_TOGETHER = (
    *("existence", "count", "position", "color", "OCR"),
    *("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
)
MME_TEXT = "Is there a {0} in this image? Please answer yes or no.\tYes\nIs there a {1}? Please answer yes or no.\tNo\n"


def mme(folder: Path) -> None:
    root = folder / "MME_Benchmark_release_version"
    for subtask in MME_APART:
        picture(root / subtask / "images" / "10002.jpg")
        (root / subtask / "questions_answers_YN").mkdir()
        (root / subtask / "questions_answers_YN" / "10002.txt").write_text(MME_TEXT.format("poster", "cat"), "utf-8")
    for subtask in MME_TOGETHER:
        picture(root / subtask / "0001.png")
        (root / subtask / "0001.txt").write_text(MME_TEXT.format(subtask, "鸟"), "utf-8")


def chartqa(folder: Path) -> None:
    human = {"imgname": "41699051005347.png", "query": "How many food item is shown in the bar graph?", "label": "14"}
    made = {"imgname": "two_col_2954.png", "query": "What game topped the charts?", "label": "League of Legends"}
    for kind, row in (("human", human), ("augmented", made)):
        as_json(folder / "test" / f"test_{kind}.json", [row])
        picture(folder / "test" / "png" / row["imgname"])


def docvqa(folder: Path) -> None:
    row = {
        "questionId": 337,
        "question": "what is the date mentioned in this letter?",
        "question_types": ["handwritten", "form"],
        "image": "documents/xnbl0037_1.png",
        "docId": 279,
        "ucsf_document_id": "xnbl0037",
        "ucsf_document_page_no": "1",
        "answers": ["1/8/93", "1/8/1993"],
        "data_split": "val",
    }
    head = {"dataset_name": "docvqa", "dataset_version": "1.0", "dataset_split": "val"}
    as_json(folder / "spdocvqa_qas" / "val_v1.0_withQT.json", head | {"data": [row]})
    picture(folder / "spdocvqa_images" / "xnbl0037_1.png")


INFO_VQA = [
    {
        "questionId": 98313,
        "question": "Which social platform has heavy female audience?",
        "image_local_name": "37313.jpeg",
        "image_url": "https://example.org/37313.png",
        "ocr_output_file": "37313.json",
        "answers": ["pinterest"],
        "data_split": "val",
    }
]


def info_vqa(folder: Path, rows: list = INFO_VQA) -> None:
    head = {"dataset_name": "infographicVQA", "dataset_split": "val", "dataset_version": "1.0"}
    as_json(folder / "infographicsvqa_qas" / "infographicsVQA_val_v1.0_withQT.json", head | {"data": rows})
    picture(folder / "infographicsvqa_images" / "37313.jpeg")


NLVR2 = [
    {
        "validation": {"28": label},
        "sentence": "There is an empty glass.",
        "left_url": "http://www.example.org/left.jpg",
        "writer": "103",
        "label": label,
        "right_url": "https://www.example.org/right.jpg",
        "synset": "beer bottle",
        "query": "group of beer bottles41",
        "identifier": identifier,
        "extra_validations": {"56": label, "83": label},
    }
    for identifier, label in (("test1-0-1-0", "False"), ("test1-0-3-0", "True"))
]


def nlvr2(folder: Path, rows: list = NLVR2) -> None:
    as_lines(folder / "test1.json", rows)
    for pair in ("test1-0-1", "test1-0-3"):
        for side in (0, 1):
            picture(folder / "test1" / f"{pair}-img{side}.png")


def coco_captions(folder: Path) -> None:
    name = "COCO_val2014_000000391895.jpg"
    captions = ["A man with a red helmet on a small moped on a dirt road.", "Man riding a motor bike on a dirt road."]
    image = {
        "license": 3,
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/val2014/{name}",
        "height": 360,
        "width": 640,
        "date_captured": "2013-11-14 11:18:45",
        "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg",
        "id": 391895,
    }
    annotations = [{"image_id": 391895, "id": n, "caption": caption} for n, caption in enumerate(captions, 770337)]
    whole = {"info": {"version": "1.0"}, "images": [image], "licenses": [], "annotations": annotations}
    as_json(folder / "annotations" / "captions_val2014.json", whole)
    entry = karpathy_entry(0, "test", name, captions) | {"filepath": "val2014", "cocoid": 391895}
    as_json(folder / "dataset_coco.json", {"images": [entry], "dataset": "coco"})
    picture(folder / "val2014" / name)


def karpathy_entry(number: int, split: str, filename: str, captions: list[str]) -> dict[str, Any]:
    sentences = [
        {"tokens": raw.lower().rstrip(".").split(), "raw": raw, "imgid": number, "sentid": 5 * number + each}
        for each, raw in enumerate(captions)
    ]
    return {
        "sentids": [sentence["sentid"] for sentence in sentences],
        "imgid": number,
        "sentences": sentences,
        "split": split,
        "filename": filename,
    }


NO_CAPS_IMAGES = [
    {
        "license": 0,
        "open_images_id": name,
        "file_name": f"{name}.jpg",
        "coco_url": f"https://s3.amazonaws.com/nocaps/val/{name}.jpg",
        "height": 1024,
        "width": 732,
        "date_captured": "2018-11-06 11:04:33",
        "id": number,
        "domain": domain,
    }
    for number, name, domain in ((0, "0013ea2087020901", "in-domain"), (1, "0015e4aa4fdb5ab0", "out-domain"))
]
NO_CAPS_CAPTIONS = [
    {"image_id": number, "id": 10 * number + each, "caption": f"A baby is standing in front of house {number} {each}."}
    for number in (0, 1)
    for each in range(10)
]


def no_caps(folder: Path, images: list = NO_CAPS_IMAGES, captions: list = NO_CAPS_CAPTIONS) -> None:
    head = {"info": {"version": "1.0"}, "licenses": []}
    as_json(folder / "nocaps_val_4500_captions.json", head | {"images": images, "annotations": captions})
    for image in NO_CAPS_IMAGES:
        picture(folder / "images" / image["file_name"])


def flickr30k(folder: Path) -> None:
    captions = ["The man with pierced ears is wearing glasses.", "A man with glasses."]
    entry = karpathy_entry(67, "test", "1007129816.jpg", captions)
    as_json(folder / "dataset_flickr30k.json", {"images": [entry], "dataset": "flickr30k"})
    picture(folder / "flickr30k-images" / "1007129816.jpg")


def stanford_cars(folder: Path) -> None:
    import numpy as np
    from scipy.io import savemat

    names = np.array([["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]], dtype=object)
    fields = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    annotations = np.empty((1, 1), dtype=fields)
    annotations[0, 0] = (np.uint8(39), np.uint8(116), np.uint16(569), np.uint16(375), np.uint8(2), "00001.jpg")
    (folder / "devkit").mkdir()
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    savemat(folder / "cars_test_annos_withlabels.mat", {"annotations": annotations})
    picture(folder / "cars_test" / "00001.jpg")


WRITERS: dict[str, Callable[[Path], None]] = {
    "ai2d": ai2d,
    "chartqa": chartqa,
    "coco_captions": coco_captions,
    "docvqa": docvqa,
    "flickr30k": flickr30k,
    "gqa": gqa,
    "info_vqa": info_vqa,
    "mmbench": mmbench,
    "mme": mme,
    "nlvr2": nlvr2,
    "no_caps": no_caps,
    "ok_vqa": ok_vqa,
    "pope": pope,
    "scienceqa": scienceqa,
    "seed_bench": seed_bench,
    "stanford_cars": stanford_cars,
    "textvqa": textvqa,
    "vizwiz": vizwiz,
    "vqav2": vqav2,
}
"""Each source that needs a folder; the others bring their own data."""
