"""What is kept of published models: it builds them, and it agrees with itself and with transformers' defaults."""

import inspect
import json
from importlib import resources

import pytest

from mlplora_vlm.families.published import (
    published_config,
    published_ids,
    published_parameters,
    published_processor,
)
from mlplora_vlm.meta import meta_model

FILES = {
    facts["id"]: facts
    for file in resources.files("mlplora_vlm.families").joinpath("published").iterdir()
    if file.name.endswith(".json")
    for facts in [json.loads(file.read_text("utf-8"))]
}
COUNTED = sorted(name for name, facts in FILES.items() if "parameters" in facts)
WITH_PICTURES = sorted(name for name, facts in FILES.items() if "processor" in facts)


def without(values: dict, path: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        values = values[parent]
    del values[last]


def image_processor_class(model_type: str) -> type:
    import transformers
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    return getattr(transformers, IMAGE_PROCESSOR_MAPPING_NAMES[model_type]["torchvision"])


def test_every_file_is_found_under_its_id_and_says_where_it_is_from() -> None:
    assert published_ids() == sorted(FILES) and len(COUNTED) >= 10 and COUNTED == WITH_PICTURES
    assert all(facts["source"] for facts in FILES.values())
    assert all(FILES[name]["parameters_source"] for name in COUNTED)


@pytest.mark.parametrize("name", COUNTED)
def test_the_configuration_builds_the_published_number_of_parameters(name: str) -> None:
    config = published_config(name)
    assert config is not None
    model = meta_model(config)
    assert type(model).__name__ == FILES[name]["config"]["architectures"][0]
    assert sum(weight.numel() for weight in model.parameters()) == published_parameters(name)


@pytest.mark.parametrize("name", sorted(FILES))
def test_implied_values_are_the_defaults_of_transformers(name: str) -> None:
    from transformers import AutoConfig

    left_out = json.loads(json.dumps(FILES[name]))
    for path in left_out.get("implied", []):
        without(left_out, path if path.startswith("processor.") else f"config.{path}")
    assert AutoConfig.for_model(**left_out["config"]).to_dict() == published_config(name).to_dict()
    if name in WITH_PICTURES:
        kind = image_processor_class(left_out["config"]["model_type"])
        kept = published_processor(name)["image_processor"]
        assert kind(**left_out["processor"]["image_processor"]).to_dict() == kind(**kept).to_dict()


@pytest.mark.parametrize("name", WITH_PICTURES)
def test_picture_settings_are_arguments_of_the_processors(name: str) -> None:
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    settings, model_type = published_processor(name), FILES[name]["config"]["model_type"]
    pictures = settings.pop("image_processor")
    kind = image_processor_class(model_type)
    known = {key for parent in kind.valid_kwargs.__mro__ for key in getattr(parent, "__annotations__", {})}
    if model_type == "paligemma":
        known.add("image_seq_length")  # PaliGemmaProcessor asks SigLIP's image processor for it
    assert set(pictures) <= known
    made = kind(**pictures)
    assert {key: getattr(made, key) for key in pictures} == pictures
    processor = getattr(transformers, PROCESSOR_MAPPING_NAMES[model_type])
    assert set(settings) <= set(inspect.signature(processor).parameters)


@pytest.mark.parametrize("name", WITH_PICTURES)
def test_pictures_have_the_size_and_patches_that_the_tower_takes(name: str) -> None:
    pictures, tower = published_processor(name)["image_processor"], published_config(name).vision_config
    if side := getattr(tower, "image_size", None):
        shown = pictures.get("max_image_size") or pictures.get("crop_size") or pictures["size"]
        assert set(shown.values()) == set(side if isinstance(side, (list, tuple)) else [side])
    else:
        assert (pictures["patch_size"], pictures["temporal_patch_size"], pictures["merge_size"]) == (
            tower.patch_size,
            tower.temporal_patch_size,
            tower.spatial_merge_size,
        )


def test_what_is_handed_out_can_be_changed_without_harm() -> None:
    name = WITH_PICTURES[0]
    published_processor(name)["image_processor"].clear()
    assert published_processor(name)["image_processor"]


def test_an_unknown_model_has_no_facts() -> None:
    assert published_config("no/such-model") is published_processor("no/such-model") is None
    assert published_parameters("no/such-model") is None
