"""The public data sets that the recipes name: their official files, and what those become in the source's folder.

Sizes and checksums are the published ones, and each file says where they are published; a file without a checksum has
none that we found.  ``docs/downloads.md`` is made from this table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mlplora_vlm.errors import MendableError, did_you_mean

Kind = Literal["images", "annotations", "both"]


@dataclass(frozen=True)
class PublicFile:
    """One file of a set: where it comes from, how it is known to be whole, and what it becomes."""

    name: str
    """What it is called in the folder, where it stays, or until it is unpacked."""
    kind: Kind
    url: str = ""
    """Its official address; empty: it cannot be fetched without a person."""
    size: int | None = None
    """Bytes, as published."""
    checksum: str = ""
    """``sha256:…`` or ``md5:…``, as published."""
    figures: str = ""
    """Where size and checksum are published."""
    unpacks: tuple[tuple[str, str], ...] = ()
    """For an archive: (name in it, place in the folder) of all that is unpacked; an empty name is the whole archive."""
    about: int | None = None
    """Bytes of what is unpacked: an estimate, rounded up; None: about the archive's own size, as with pictures."""

    @property
    def places(self) -> tuple[str, ...]:
        """What lies in the folder when the file has been dealt with."""
        return tuple(place for _, place in self.unpacks) or (self.name,)


@dataclass(frozen=True)
class PublicSet:
    """One data set, as the source of that name reads it."""

    name: str
    title: str
    source: str
    """The module of data_prep/sources/ that reads it."""
    folder: str
    """Where the recipes look for it."""
    page: str
    licence: str
    citation: str
    files: tuple[PublicFile, ...]
    by_hand: str = ""
    """What a person has to do for the files without an address."""
    note: str = ""


BUNDLED = {
    "easy_vqa": {
        "title": "Easy-VQA",
        "page": "https://github.com/vzhou842/easy-VQA",
        "licence": "MIT",
        "citation": "Victor Zhou, easy-VQA (github.com/vzhou842/easy-VQA)",
    },
    "shapes": {
        "title": "drawn shapes",
        "page": "",
        "licence": "Apache-2.0 (drawn by the project's own code)",
        "citation": "",
    },
}
"""The sets that a source brings along, so that there is nothing to fetch."""


def public_set(name: str) -> PublicSet:
    """The set of that name; raises MendableError for an unknown one."""
    for each in SETS:
        if each.name == name:
            return each
    names = [each.name for each in SETS]
    raise MendableError(
        f"no public set named {name!r}{did_you_mean(name, names)}", "download", f"one of: {', '.join(names)}"
    )


def table() -> tuple[list[str], list[list[str]]]:
    """docs/downloads.md's table, (heads, rows): one row a file."""
    heads = ["set", "source", "file", "bytes", "checksum", "becomes", "figures from"]
    rows = []
    for each in SETS:
        for file in each.files:
            rows.append(
                [
                    f"[`{each.name}`]({each.page})",
                    f"`{each.source}`",
                    f"[{file.name}]({file.url})" if file.url else f"{file.name}, by hand",
                    f"{file.size:,}" if file.size else "not published",
                    f"`{file.checksum}`" if file.checksum else "none published",
                    "<br>".join(f"`{place}`" for place in file.places),
                    file.figures or "–",
                ]
            )
    return heads, rows


def licences() -> tuple[list[str], list[list[str]]]:
    """docs/downloads.md's other table, (heads, rows): one row a set."""
    heads = ["set", "folder", "licence", "cite", "by hand"]
    return heads, [
        [f"[{each.title}]({each.page})", f"`{each.folder}`", each.licence, each.citation, each.by_hand or "–"]
        for each in SETS
    ]


def _same(*places: str) -> tuple[tuple[str, str], ...]:
    return tuple((place, place) for place in places)


_TFDS_COCO = "tensorflow/datasets at 2a3f49a, tensorflow_datasets/url_checksums/coco_captions.txt"
_TFDS_CARS = "tensorflow/datasets at 31f1255, tensorflow_datasets/url_checksums/cars196.txt"
_VQA_ZIPS = (
    "checksum: facebookresearch/ParlAI at 0570c9f, parlai/tasks/vqa_v2/build.py; "
    "size: dongtingshuo/multimodal-vqa at 4b1aa41, scripts/prepare_vqa_data.py"
)
_TEXTVQA_INFOS = "huggingface/datasets at 040102f, datasets/textvqa/dataset_infos.json"
_VG_INFOS = "huggingface/datasets at 2017029, datasets/visual_genome/dataset_infos.json"
_HUB = "https://huggingface.co/datasets"

_COCO_PICTURES = (
    PublicFile(
        "train2014.zip",
        "images",
        "http://images.cocodataset.org/zips/train2014.zip",
        13510573713,
        "sha256:ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        _TFDS_COCO,
        _same("train2014"),
    ),
    PublicFile(
        "val2014.zip",
        "images",
        "http://images.cocodataset.org/zips/val2014.zip",
        6645013297,
        "sha256:fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        _TFDS_COCO,
        _same("val2014"),
    ),
)

_KARPATHY = PublicFile(
    "caption_datasets.zip",
    "annotations",
    "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
    36745453,
    "sha256:4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817",
    _TFDS_COCO,
    about=200_000_000,
)

_GQA_PICTURES = PublicFile(
    "images.zip",
    "images",
    "https://downloads.cs.stanford.edu/nlp/data/gqa/images.zip",
    21817965542,
    "sha256:02ce5c49c793accd5305356de9c39a50f80a7aaac193b0203de30dbbc65bde62",
    f"LMDHQ-0420/Vision-Jev at 8ef6294, scripts/download_all_data.sh; the same in {_HUB}/lucasjin/Sharegpt4v_ADDitonal "
    "at bb3d1bf",
    _same("images"),
)

_TEXTVQA_PICTURES = PublicFile(
    "train_val_images.zip",
    "images",
    "https://dl.fbaipublicfiles.com/textvqa/images/train_val_images.zip",
    7072297970,
    "sha256:ecf35005640d0708eae185aab1c0a10f89b2db7420b29185a1ed92a8f4290498",
    _TEXTVQA_INFOS,
    _same("train_images"),
)

_VQAV2 = PublicSet(
    name="vqav2",
    title="VQAv2",
    source="vqav2",
    folder="data/vqav2",
    page="https://visualqa.org/download.html",
    licence="questions and answers CC BY 4.0 (visualqa.org/terms.html); photographs under Flickr's terms of use",
    citation="Goyal et al., Making the V in VQA Matter, CVPR 2017 (arXiv:1612.00837); "
    "photographs: Lin et al., Microsoft COCO, ECCV 2014 (arXiv:1405.0312)",
    files=(
        PublicFile(
            "v2_Questions_Train_mscoco.zip",
            "annotations",
            "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_Questions_Train_mscoco.zip",
            7239401,
            "sha256:05a64b6e2582d06d7585f5429674a9a33851878be1bff9f8668cdcf792df611e",
            _VQA_ZIPS,
            _same("v2_OpenEnded_mscoco_train2014_questions.json"),
            about=60_000_000,
        ),
        PublicFile(
            "v2_Questions_Val_mscoco.zip",
            "annotations",
            "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_Questions_Val_mscoco.zip",
            3494929,
            "sha256:e71f6c5c3e97a51d050f28243e262b28cd0c48d11a6b4632d769d30d3f93222a",
            _VQA_ZIPS,
            _same("v2_OpenEnded_mscoco_val2014_questions.json"),
            about=30_000_000,
        ),
        PublicFile(
            "v2_Annotations_Train_mscoco.zip",
            "annotations",
            "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_Annotations_Train_mscoco.zip",
            21708861,
            "sha256:fb101bcefe91422c543c2bb6d70af11eb3119d0ff745ae283d09acdf66250853",
            _VQA_ZIPS,
            _same("v2_mscoco_train2014_annotations.json"),
            about=500_000_000,
        ),
        PublicFile(
            "v2_Annotations_Val_mscoco.zip",
            "annotations",
            "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_Annotations_Val_mscoco.zip",
            10518930,
            "sha256:0caae7c8d1dafd852727f5ac046bc1efca9b72026bd6ffa34fc489f3a7b3291e",
            _VQA_ZIPS,
            _same("v2_mscoco_val2014_annotations.json"),
            about=250_000_000,
        ),
        *_COCO_PICTURES,
    ),
    note="the photographs are coco_captions' too: with --folder data/coco for both they are fetched once",
)

_COCO = PublicSet(
    name="coco_captions",
    title="COCO Captions",
    source="coco_captions",
    folder="data/coco",
    page="https://cocodataset.org/#download",
    licence="captions CC BY 4.0 (cocodataset.org/#termsofuse); photographs under Flickr's terms of use",
    citation="Chen et al., Microsoft COCO Captions, arXiv:1504.00325; "
    "Karpathy's split: Karpathy and Fei-Fei, CVPR 2015 (arXiv:1412.2306)",
    files=(
        PublicFile(
            "annotations_trainval2014.zip",
            "annotations",
            "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
            252872794,
            "sha256:031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
            _TFDS_COCO,
            _same("annotations/captions_train2014.json", "annotations/captions_val2014.json"),
            about=150_000_000,
        ),
        replace(_KARPATHY, unpacks=_same("dataset_coco.json")),
        *_COCO_PICTURES,
    ),
    note="the photographs are vqav2's too: with one --folder for both they are fetched once",
)

_TEXTVQA = PublicSet(
    name="textvqa",
    title="TextVQA",
    source="textvqa",
    folder="data/textvqa",
    page="https://textvqa.org/dataset/",
    licence="questions and answers CC BY 4.0; pictures from Open Images, CC BY 2.0",
    citation="Singh et al., Towards VQA Models That Can Read, CVPR 2019 (arXiv:1904.08920)",
    files=(
        PublicFile(
            "TextVQA_0.5.1_train.json",
            "annotations",
            "https://dl.fbaipublicfiles.com/textvqa/data/TextVQA_0.5.1_train.json",
            21634937,
            "sha256:95f5c407db56cba56a177799dcd685a7cc0ec7c0d851b59910acf7786d31b68a",
            _TEXTVQA_INFOS,
        ),
        PublicFile(
            "TextVQA_0.5.1_val.json",
            "annotations",
            "https://dl.fbaipublicfiles.com/textvqa/data/TextVQA_0.5.1_val.json",
            3116162,
            "sha256:4ceb5aadc1a41719d0a3e4dfdf06838bcfee1db569a9a65ee67d31c99893081d",
            _TEXTVQA_INFOS,
        ),
        PublicFile(
            "TextVQA_Rosetta_OCR_v0.2_val.json",
            "annotations",
            "https://dl.fbaipublicfiles.com/textvqa/data/TextVQA_Rosetta_OCR_v0.2_val.json",
        ),
        _TEXTVQA_PICTURES,
    ),
)

_GQA = PublicSet(
    name="gqa",
    title="GQA",
    source="gqa",
    folder="data/gqa",
    page="https://cs.stanford.edu/people/dorarad/gqa/download.html",
    licence="CC BY 4.0 (by huggingface.co/datasets/Graphcore/gqa); photographs (Visual Genome's) under Flickr's terms",
    citation="Hudson and Manning, GQA, CVPR 2019 (arXiv:1902.09506)",
    files=(
        PublicFile(
            "questions1.2.zip",
            "annotations",
            "https://downloads.cs.stanford.edu/nlp/data/gqa/questions1.2.zip",
            1498616372,
            figures="LMDHQ-0420/Vision-Jev at 8ef6294, scripts/download_all_data.sh",
            unpacks=_same(
                "train_balanced_questions.json", "val_balanced_questions.json", "testdev_balanced_questions.json"
            ),
            about=2_000_000_000,
        ),
        _GQA_PICTURES,
    ),
)

# The repository is pinned: its files at a commit do not change.
_SCIENCEQA_FILES = (
    "https://raw.githubusercontent.com/lupantech/ScienceQA/2cbf8318e07b9ece895bb2ae605e71e38d623264/data/scienceqa"
)
_SCIENCEQA = PublicSet(
    name="scienceqa",
    title="ScienceQA",
    source="scienceqa",
    folder="data/scienceqa",
    page="https://github.com/lupantech/ScienceQA",
    licence="CC BY-NC-SA 4.0 (the repository's LICENSE-DATA)",
    citation="Lu et al., Learn to Explain, NeurIPS 2022 (arXiv:2209.09513)",
    files=(
        PublicFile("problems.json", "annotations", f"{_SCIENCEQA_FILES}/problems.json"),
        PublicFile(
            "pid_splits.json",
            "annotations",
            f"{_SCIENCEQA_FILES}/pid_splits.json",
            502927,
            "sha256:85c7820b9f136e572579a01dab2c77a7f8140b59211e421fa5182491d45ee3a7",
            "of the file in lupantech/ScienceQA at 2cbf831",
        ),
        *(
            PublicFile(
                f"{split}.zip",
                "images",
                f"https://scienceqa.s3.us-west-1.amazonaws.com/images/{split}.zip",
                unpacks=((split, f"images/{split}"),),
            )
            for split in ("train", "val", "test")
        ),
    ),
)

_DOCVQA = PublicSet(
    name="docvqa",
    title="DocVQA, single pages",
    source="docvqa",
    folder="data/docvqa",
    page="https://rrc.cvc.uab.es/?ch=17&com=downloads",
    licence="the challenge's terms, shown at registration; documents of the UCSF Industry Documents Library",
    citation="Mathew et al., DocVQA, WACV 2021 (arXiv:2007.00398)",
    files=(
        PublicFile(
            "spdocvqa_qas.zip",
            "annotations",
            unpacks=_same("spdocvqa_qas/train_v1.0_withQT.json", "spdocvqa_qas/val_v1.0_withQT.json"),
            about=100_000_000,
        ),
        PublicFile("spdocvqa_images.tar.gz", "images", unpacks=(("", "spdocvqa_images"),)),
    ),
    by_hand="register, take 'Annotations' and 'Images' of task 1 (single page), and put both archives into the folder",
)

_CARS = PublicSet(
    name="stanford_cars",
    title="Stanford Cars",
    source="stanford_cars",
    folder="data/stanford_cars",
    page="https://github.com/pytorch/vision/issues/7545",
    licence="not known: the authors' page is gone",
    citation="Krause et al., 3D Object Representations for Fine-Grained Categorization, 3dRR 2013",
    files=(
        PublicFile(
            "car_devkit.tgz",
            "annotations",
            size=330960,
            checksum="sha256:b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
            figures=_TFDS_CARS,
            unpacks=_same("devkit/cars_meta.mat", "devkit/cars_train_annos.mat"),
        ),
        PublicFile(
            "cars_test_annos_withlabels.mat",
            "annotations",
            size=185758,
            checksum="sha256:790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
            figures=_TFDS_CARS,
        ),
        PublicFile(
            "cars_train.tgz",
            "images",
            size=979269282,
            checksum="sha256:512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
            figures=_TFDS_CARS,
            unpacks=_same("cars_train"),
        ),
        PublicFile(
            "cars_test.tgz",
            "images",
            size=977350468,
            checksum="sha256:bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
            figures=_TFDS_CARS,
            unpacks=_same("cars_test"),
        ),
    ),
    by_hand="the authors' addresses are gone: take a copy that the page names, and put the archives, or what they "
    "hold, into the folder",
)

_FLICKR30K = PublicSet(
    name="flickr30k",
    title="Flickr30k",
    source="flickr30k",
    folder="data/flickr30k",
    page="https://shannon.cs.illinois.edu/DenotationGraph/",
    licence="photographs under Flickr's terms of use, for non-commercial research and teaching",
    citation="Young et al., From Image Descriptions to Visual Denotations, TACL 2014; "
    "Karpathy's split: Karpathy and Fei-Fei, CVPR 2015 (arXiv:1412.2306)",
    files=(
        replace(_KARPATHY, unpacks=_same("dataset_flickr30k.json")),
        PublicFile("flickr30k-images.tar.gz", "images", unpacks=_same("flickr30k-images")),
    ),
    by_hand="ask for the photographs with the form on the page, and put flickr30k-images.tar.gz into the folder",
)

_CHARTQA = PublicSet(
    name="chartqa",
    title="ChartQA",
    source="chartqa",
    folder="data/chartqa",
    page="https://github.com/vis-nlp/ChartQA",
    licence="GPL-3.0",
    citation="Masry et al., ChartQA, Findings of ACL 2022 (arXiv:2203.10244)",
    files=(
        PublicFile(
            "ChartQA Dataset.zip",
            "both",
            f"{_HUB}/ahmed-masry/ChartQA/resolve/42455d40dbcbb3d66ec5c6bc448c0b9c37d5650f/ChartQA%20Dataset.zip",
            875370872,
            "sha256:1bf310e5a51101681495c4a24f4f29d22c4f70b52df24e2e4feb0d79cae3c160",
            f"the author's {_HUB}/ahmed-masry/ChartQA at 42455d4",
            tuple(
                (f"ChartQA Dataset/{split}/{part}", f"{split}/{part}")
                for split in ("train", "val", "test")
                for part in (f"{split}_human.json", f"{split}_augmented.json", "png")
            ),
        ),
    ),
)

_LLAVA = PublicSet(
    name="llava_mix665k",
    title="LLaVA-1.5's mixture",
    source="llava_conversations",
    folder="data/llava_mix665k",
    page="https://github.com/haotian-liu/LLaVA#visual-instruction-tuning",
    licence="CC BY 4.0, and OpenAI's terms of use (its data card); pictures under their own sets' terms",
    citation="Liu et al., Improved Baselines with Visual Instruction Tuning, CVPR 2024 (arXiv:2310.03744)",
    files=(
        PublicFile(
            "llava_v1_5_mix665k.json",
            "annotations",
            f"{_HUB}/liuhaotian/LLaVA-Instruct-150K/resolve/011f884bcf152693aca1d531d067f31e748bea02/"
            "llava_v1_5_mix665k.json",
            1029887963,
            "sha256:ce959ce6e23073ee1cd1a8a2ef1c633768c10d4174327b8b2dc7113b91af6cf8",
            f"the author's {_HUB}/liuhaotian/LLaVA-Instruct-150K at 011f884",
        ),
        PublicFile(
            "train2017.zip",
            "images",
            "http://images.cocodataset.org/zips/train2017.zip",
            19336861798,
            "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            _TFDS_COCO,
            (("train2017", "coco/train2017"),),
        ),
        replace(_GQA_PICTURES, name="gqa_images.zip", unpacks=(("images", "gqa/images"),)),
        replace(_TEXTVQA_PICTURES, name="textvqa_images.zip", unpacks=(("train_images", "textvqa/train_images"),)),
        PublicFile(
            "vg_images.zip",
            "images",
            "https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip",
            9731705982,
            "sha256:51c682d2721f880150720bb416e0346a4c787e4c55d7f80dfd1bd3f73ba81646",
            _VG_INFOS,
            (("VG_100K", "vg/VG_100K"),),
        ),
        PublicFile(
            "vg_images2.zip",
            "images",
            "https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip",
            5471658058,
            "sha256:99da1a0ddf87011319ff3b05cf9176ffee2731cc3c52951162d9ef0d68e3cfb5",
            _VG_INFOS,
            (("VG_100K_2", "vg/VG_100K_2"),),
        ),
        PublicFile("ocr_vqa/images", "images"),
    ),
    by_hand="OCR-VQA's pictures, with the download script that the page names: save all as .jpg in ocr_vqa/images "
    "(without them those rows are rejected, and counted)",
)

_OK_VQA_SITE = "https://okvqa.allenai.org/static/data"
_OK_VQA = PublicSet(
    name="ok_vqa",
    title="OK-VQA",
    source="ok_vqa",
    folder="data/ok_vqa",
    page="https://okvqa.allenai.org/download.html",
    licence="none found for questions and answers; photographs under Flickr's terms of use",
    citation="Marino et al., OK-VQA, CVPR 2019 (arXiv:1906.00067); "
    "photographs: Lin et al., Microsoft COCO, ECCV 2014 (arXiv:1405.0312)",
    files=(
        *(
            PublicFile(
                f"{name}.json.zip",
                "annotations",
                f"{_OK_VQA_SITE}/{name}.json.zip",
                unpacks=_same(f"{name}.json"),
                about=20_000_000,
            )
            for split in ("train", "val")
            for name in (f"OpenEnded_mscoco_{split}2014_questions", f"mscoco_{split}2014_annotations")
        ),
        *_COCO_PICTURES,
    ),
    note="the photographs are vqav2's and coco_captions' too: with one --folder for all they are fetched once",
)

_VIZWIZ_SITE = "https://vizwiz.cs.colorado.edu/VizWiz_final"
_VIZWIZ = PublicSet(
    name="vizwiz",
    title="VizWiz-VQA",
    source="vizwiz",
    folder="data/vizwiz",
    page="https://vizwiz.org/tasks-and-datasets/vqa/",
    licence="CC BY 4.0 (vizwiz.org)",
    citation="Gurari et al., VizWiz Grand Challenge, CVPR 2018 (arXiv:1802.08218)",
    files=(
        PublicFile(
            "Annotations.zip",
            "annotations",
            f"{_VIZWIZ_SITE}/vqa_data/Annotations.zip",
            unpacks=_same("Annotations/train.json", "Annotations/val.json"),
            about=100_000_000,
        ),
        *(
            PublicFile(f"{split}.zip", "images", f"{_VIZWIZ_SITE}/images/{split}.zip", unpacks=_same(split))
            for split in ("train", "val")
        ),
    ),
)

_INFO_VQA = PublicSet(
    name="info_vqa",
    title="InfographicVQA",
    source="info_vqa",
    folder="data/info_vqa",
    page="https://rrc.cvc.uab.es/?ch=17&com=downloads",
    licence="the challenge's terms, shown at registration",
    citation="Mathew et al., InfographicVQA, WACV 2022 (arXiv:2104.12756)",
    files=(
        PublicFile(
            "infographicsvqa_qas.zip",
            "annotations",
            unpacks=_same(
                "infographicsvqa_qas/infographicsVQA_train_v1.0.json",
                "infographicsvqa_qas/infographicsVQA_val_v1.0_withQT.json",
            ),
            about=100_000_000,
        ),
        PublicFile("infographicsvqa_images.tar.gz", "images", unpacks=(("", "infographicsvqa_images"),)),
    ),
    by_hand="register, take 'Annotations' and 'Images' of task 3 (infographics), and put both into the folder; "
    "where an archive's files lie in another folder, unpack it by hand into the places below",
)

_AI2D = PublicSet(
    name="ai2d",
    title="AI2D",
    source="ai2d",
    folder="data/ai2d",
    page="https://prior.allenai.org/projects/diagram-understanding",
    licence="CC BY-SA 4.0 (awslabs/open-data-registry at 1fd4120, datasets/allenai-diagrams.yaml)",
    citation="Kembhavi et al., A Diagram Is Worth a Dozen Images, ECCV 2016 (arXiv:1603.07396)",
    files=(
        PublicFile(
            "ai2d-all.zip",
            "both",
            "https://ai2-public-datasets.s3.amazonaws.com/diagrams/ai2d-all.zip",
            unpacks=tuple((f"ai2d/{part}", part) for part in ("images", "questions", "annotations", "categories.json")),
        ),
        PublicFile(
            "ai2d_test_ids.csv",
            "annotations",
            "https://s3-us-east-2.amazonaws.com/prior-datasets/ai2d_test_ids.csv",
        ),
    ),
)

_MMBENCH = PublicSet(
    name="mmbench",
    title="MMBench, dev",
    source="mmbench",
    folder="data/mmbench",
    page="https://github.com/open-compass/MMBench",
    licence="none found",
    citation="Liu et al., MMBench, ECCV 2024 (arXiv:2307.06281)",
    files=(
        PublicFile(
            "mmbench_dev_20230712.tsv",
            "both",
            "https://download.openmmlab.com/mmclassification/datasets/mmbench/mmbench_dev_20230712.tsv",
        ),
    ),
)

_SEED_BENCH = PublicSet(
    name="seed_bench",
    title="SEED-Bench, pictures",
    source="seed_bench",
    folder="data/seed_bench",
    page="https://huggingface.co/datasets/AILab-CVC/SEED-Bench",
    licence="Apache-2.0 (AILab-CVC/SEED-Bench at 991e849, README.md); pictures of Conceptual Captions",
    citation="Li et al., SEED-Bench, CVPR 2024 (arXiv:2307.16125)",
    files=(
        PublicFile("SEED-Bench.json", "annotations"),
        PublicFile("SEED-Bench-image.zip", "images", unpacks=_same("SEED-Bench-image")),
    ),
    by_hand="take SEED-Bench.json and SEED-Bench-image.zip from the page's files, and put both into the folder",
)

# The repository is pinned: its files at a commit do not change.
_POPE_FILES = "https://raw.githubusercontent.com/RUCAIBox/POPE/3df3ba1b110ecce25696989577fad583b67d4239/output/coco"
_POPE = PublicSet(
    name="pope",
    title="POPE",
    source="pope",
    folder="data/pope",
    page="https://github.com/RUCAIBox/POPE",
    licence="MIT (the repository's LICENSE); photographs under Flickr's terms of use",
    citation="Li et al., Evaluating Object Hallucination in Large Vision-Language Models, EMNLP 2023 "
    "(arXiv:2305.10355); photographs: Lin et al., Microsoft COCO, ECCV 2014 (arXiv:1405.0312)",
    files=(
        *(
            PublicFile(
                f"coco_pope_{subset}.json",
                "annotations",
                f"{_POPE_FILES}/coco_pope_{subset}.json",
                size,
                f"sha256:{checksum}",
                "of the file in RUCAIBox/POPE at 3df3ba1",
            )
            for subset, size, checksum in (
                ("random", 368166, "ac25245170b975a5bdf9080b23fd431dfe6be458bc038259c1f4f09a6bef7994"),
                ("popular", 370190, "72c1a8ad45d0c13514f5f22598261df41d3b533854d29682e924db50ed8aa753"),
                ("adversarial", 370401, "420b3407db1fa9f1187a805dca41cb7b97fd91504e6c2179706188c107fb8ef8"),
            )
        ),
        _COCO_PICTURES[1],
    ),
    note="the photographs are vqav2's and coco_captions' too: with one --folder for all they are fetched once",
)

_MME = PublicSet(
    name="mme",
    title="MME",
    source="mme",
    folder="data/mme",
    page="https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation",
    licence="none found",
    citation="Fu et al., MME, 2023 (arXiv:2306.13394)",
    files=(PublicFile("MME_Benchmark_release_version.zip", "both", unpacks=_same("MME_Benchmark_release_version")),),
    by_hand="follow the page to MME_Benchmark_release_version.zip, and put it into the folder",
)

_NLVR2_FILES = "https://raw.githubusercontent.com/lil-lab/nlvr/18924841aa96d519cfb8584f0945350f07a6d860/nlvr2/data"
_NLVR2 = PublicSet(
    name="nlvr2",
    title="NLVR2",
    source="nlvr2",
    folder="data/nlvr2",
    page="https://github.com/lil-lab/nlvr/tree/master/nlvr2",
    licence="sentences and labels CC BY 4.0 (lil-lab/nlvr at 1892484, README.md); photographs are their owners'",
    citation="Suhr et al., A Corpus for Reasoning about Natural Language Grounded in Photographs, ACL 2019 "
    "(arXiv:1811.00491)",
    files=(
        *(
            PublicFile(
                f"{split}.json",
                "annotations",
                f"{_NLVR2_FILES}/{split}.json",
                size,
                f"sha256:{checksum}",
                "of the file in lil-lab/nlvr at 1892484",
            )
            for split, size, checksum in (
                ("dev", 3762423, "7c44bc7831c0e060ae7d31807c91cc0c9791322363d8d86828fb44a77f09ae88"),
                ("test1", 3780579, "f49a6c512d6868f8faf3b3bbe1a816bf5e8643f13c1bf26e527a21b84e27e2ec"),
            )
        ),
        *(PublicFile(f"{split}_img.zip", "images", unpacks=_same(split)) for split in ("dev", "test1")),
    ),
    by_hand="ask for the photographs with the form that the page names, and put dev_img.zip and test1_img.zip into the "
    "folder",
)

_NO_CAPS = PublicSet(
    name="no_caps",
    title="NoCaps",
    source="no_caps",
    folder="data/no_caps",
    page="https://nocaps.org/download",
    licence="captions CC BY 2.0 (by huggingface.co/datasets/HuggingFaceM4/NoCaps); pictures of Open Images, CC BY 2.0",
    citation="Agrawal et al., nocaps: novel object captioning at scale, ICCV 2019 (arXiv:1812.08658)",
    files=(
        PublicFile(
            "nocaps_val_4500_captions.json",
            "annotations",
            "https://nocaps.s3.amazonaws.com/nocaps_val_4500_captions.json",
        ),
        PublicFile("images", "images"),
    ),
    by_hand="the pictures: each has its address in the JSON file (coco_url); save them under their file_name in images",
)

SETS: tuple[PublicSet, ...] = (
    _VQAV2,
    _OK_VQA,
    _COCO,
    _TEXTVQA,
    _VIZWIZ,
    _GQA,
    _SCIENCEQA,
    _AI2D,
    _MMBENCH,
    _SEED_BENCH,
    _POPE,
    _MME,
    _CHARTQA,
    _DOCVQA,
    _INFO_VQA,
    _NLVR2,
    _NO_CAPS,
    _CARS,
    _FLICKR30K,
    _LLAVA,
)
