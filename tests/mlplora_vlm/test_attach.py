"""Attaching: which layers, what is trained, what it starts from, and which choices are refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlplora_vlm.adapter_folder import put_on
from mlplora_vlm.attach import AdapterSection, attach, trained_numbers
from mlplora_vlm.checkpoint import saved_name
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import card_for
from mlplora_vlm.kinds import KINDS
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.meta import meta_model
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups
from mlplora_vlm.start import keep_start, onto_original_base
from mlplora_vlm.targets import PartSection, numbered, trained_in_full

SMALL = AdapterSection(rank=3, alpha=6)
LANGUAGE = dataclasses.replace(SMALL, on=("language",))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    from tiny_llava import build

    return str(build(tmp_path_factory.mktemp("tiny")))


def loaded(base, **changes):
    return load_model(base, ModelSection(id=base, **({"dtype": "float32"} | changes)))


def trained(model):
    return {saved_name(name): p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def shaken(model):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def folders(base, tmp_path_factory):
    """A saved adapter of each kind, and a LoRA beside a projector that was trained in full."""
    root, made = tmp_path_factory.mktemp("adapters"), {}
    settings = {kind: dataclasses.replace(SMALL, kind=kind) for kind in KINDS}
    settings["full"] = dataclasses.replace(LANGUAGE, full=("projector",))
    for name, section in settings.items():
        model = shaken(attach(loaded(base), section)[0])
        model.save_pretrained(root / name)
        if KINDS[section.kind].changes_base:
            onto_original_base(root / name, model.adapter_start)
        made[name] = (root / name, section)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_starts_as_the_base_model(base, kind):
    model, _ = attach(loaded(base), dataclasses.replace(SMALL, kind=kind))
    ids = torch.randint(5, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, got = loaded(base)(input_ids=ids).logits, model(input_ids=ids).logits
    assert (got - wanted).norm() <= 1e-6 * wanted.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_the_meta_device_gives_the_same_counts(base, kind):
    section = dataclasses.replace(SMALL, kind=kind)
    model = loaded(base)
    on_meta, counts_on_meta = attach(meta_model(model.config), section)
    attached, counts = attach(model, section)
    assert counts == counts_on_meta == {"language": 14, "projector": 2}
    assert trained_numbers(attached) == trained_numbers(on_meta)


def test_the_projector_in_full_is_all_of_it_and_nothing_else(base):
    section = dataclasses.replace(LANGUAGE, full=("projector",))
    model = loaded(base)
    size = sum(p.numel() for p in model.model.multi_modal_projector.parameters())
    attached, counts = attach(model, section)
    assert counts == {"language": 14} and trained_numbers(attached)["full"] == size
    wrapper = attached.base_model.model.model.multi_modal_projector
    assert not any(p.requires_grad for p in wrapper.original_module.parameters())
    assert attached.peft_config["default"].modules_to_save == ["model.multi_modal_projector"]
    (full,) = [group for group in adapter_groups(attached, full_lr=1e-5) if group["heads"] is None]
    assert full["lr"] == 1e-5 and sum(p.numel() for p in full["params"]) == size


def test_a_part_in_full_is_the_largest_modules_that_hold_nothing_else(base):
    card = dataclasses.replace(
        card_for("llava"), projector=r"model\.(multi_modal_projector\.linear_1|vision_tower\..*fc1)"
    )
    section = dataclasses.replace(LANGUAGE, full=("projector",))
    layers = [f"model.vision_tower.encoder.layers.{n}.mlp.fc1" for n in (0, 1)]
    assert trained_in_full(loaded(base), section, card)["projector"] == [
        "model.multi_modal_projector.linear_1",
        *layers,
    ]
    assert trained_in_full(loaded(base), section, card_for("llava"))["projector"] == ["model.multi_modal_projector"]


@pytest.mark.parametrize("name", ["lora", "rslora", "dora", "vera", "full"])
def test_going_on_from_a_folder_is_exact(base, folders, name):
    folder, section = folders[name]
    model, _ = attach(loaded(base), dataclasses.replace(section, init_from=str(folder)))
    tensors, got = load_file(folder / "adapter_model.safetensors"), trained(model)
    assert got.keys() == tensors.keys() - set(KINDS[section.kind].shared)
    assert all(torch.equal(got[key], tensors[key]) for key in got)
    if section.kind != "vera":
        GeneratedAdapterOptimizer(adapter_groups(model), hidden=4, z_dim=5)
        assert all(torch.equal(got[key], tensor) for key, tensor in trained(model).items()), "a start that is kept"


def test_a_trained_pissa_is_gone_on_from_as_a_lora_of_twice_the_rank(base, folders):
    folder, _ = folders["pissa"]
    section = AdapterSection(rank=6, alpha=12, init_from=str(folder))
    model, _ = attach(loaded(base), section)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in trained(model).items())


def test_names_from_before_transformers_4_52_are_translated(base, folders, tmp_path):
    folder, section = folders["lora"]
    tensors = load_file(folder / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text((folder / "adapter_config.json").read_text())
    old = {name.replace("model.model.language_model.", "model.language_model.model."): t for name, t in tensors.items()}
    save_file(old, tmp_path / "adapter_model.safetensors")
    section = dataclasses.replace(section, init_from=str(tmp_path))
    model, _ = attach(loaded(base), section)
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in trained(model).items())
    old = {name.replace("model.model.multi_modal", "model.multi_modal"): tensor for name, tensor in old.items()}
    save_file(old, tmp_path / "adapter_model.safetensors")  # which PEFT's own conversion leaves behind
    model, _ = attach(loaded(base), section)
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in trained(model).items())


def test_a_foreign_folder_is_compared_with_the_model(base, folders, tmp_path):
    """Its target_modules may be a pattern, which fits what lies inside an adapted layer too."""
    folder, section = folders["lora"]
    config = json.loads((folder / "adapter_config.json").read_text())
    pattern = r".*(language_model\.layers|multi_modal_projector).*"
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"target_modules": pattern}))
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    section = dataclasses.replace(section, init_from=str(tmp_path))
    model, _ = attach(loaded(base), section)
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in trained(model).items())
    half = {name: tensor for name, tensor in tensors.items() if "layers.1." not in name}
    save_file(half, tmp_path / "adapter_model.safetensors")
    with pytest.raises(MendableError, match=r"lacks 7 of 16 layers that target_modules names: .*layers\.1\."):
        attach(meta_model(loaded(base).config), section)


def test_parts_with_ranks_of_their_own(base, tmp_path):
    section = dataclasses.replace(SMALL, projector=PartSection(rank=5))
    for kind in ("lora", "rslora", "dora", "pissa"):
        section = dataclasses.replace(section, kind=kind)
        model = shaken(attach(loaded(base), section)[0])
        scales = {module.scaling["default"] for module in model.modules() if hasattr(module, "lora_A")}
        assert max(scales) - min(scales) < 1e-6, "one scale for all"
        ids = torch.randint(5, 300, (2, 9), generator=torch.Generator().manual_seed(0))
        folder = tmp_path / kind
        model.save_pretrained(folder)
        if KINDS[kind].changes_base:
            onto_original_base(folder, model.adapter_start)
        with torch.no_grad():
            wanted, got = model.eval()(input_ids=ids).logits, put_on(loaded(base), folder)(input_ids=ids).logits
        assert (got - wanted).norm() <= 2e-6 * wanted.norm()
        if not KINDS[kind].changes_base:
            again, _ = attach(loaded(base), dataclasses.replace(section, init_from=str(folder)))
            assert all(torch.equal(p, trained(model)[name]) for name, p in trained(again).items())
    with pytest.raises(MendableError, match="is another one: ranks"):
        attach(loaded(base), dataclasses.replace(SMALL, init_from=str(tmp_path / "lora")))


def test_choices_that_cannot_be_are_refused():
    wrong = {
        "vision": AdapterSection(vision=PartSection(rank=4)),
        "projector": AdapterSection(projector=PartSection(layers="0-3")),
        "language.rank": AdapterSection(kind="vera", language=PartSection(rank=4)),
    }
    for key, section in wrong.items():
        assert [problem[0] for problem in section.problems()] == [key]
    for layers in ("", "a", "4-2", "3,,4"):
        assert [problem[0] for problem in PartSection(layers=layers).problems()] == ["layers"]
    assert numbered("0,4,8-11,-2--1", 32) == {0, 4, 8, 9, 10, 11, 30, 31}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 4}, "rank is 3 there and 4 here"),
        ({"alpha": 3}, "alpha is 6 there and 3 here"),
        ({"kind": "rslora"}, "kind is lora there and rslora here"),
        ({"kind": "vera"}, "kind is lora there and vera here"),
        ({"on": ("language",)}, "unknown .*multi_modal_projector"),
        ({"on": ("language", "projector", "vision")}, "missing .*vision_tower"),
        ({"on": ("language",), "full": ("projector",)}, "missing .*multi_modal_projector.linear_1.bias"),
    ],
)
def test_another_adapter_is_not_gone_on_from(base, folders, changes, said):
    folder, section = folders["lora"]
    section = dataclasses.replace(section, init_from=str(folder), **changes)
    for model in (loaded(base), meta_model(loaded(base).config)):  # the dry run says it too
        with pytest.raises(MendableError, match=said):
            attach(model, section)


def test_a_folder_whose_file_fits_another_base_is_not_gone_on_from(base, folders, tmp_path):
    folder, section = folders["lora"]
    config = json.loads((folder / "adapter_config.json").read_text()) | {"init_lora_weights": "olora"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(
        MendableError, match=r"holds no PEFT adapter in safetensors \(adapter_model.safetensors missing"
    ):
        attach(loaded(base), dataclasses.replace(section, init_from=str(tmp_path)))
    (tmp_path / "adapter_model.safetensors").write_bytes((folder / "adapter_model.safetensors").read_bytes())
    with pytest.raises(MendableError, match="start is olora there"):
        attach(loaded(base), dataclasses.replace(section, init_from=str(tmp_path)))


def test_another_projection_of_vera_is_refused(base, folders, tmp_path):
    folder, section = folders["vera"]
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["base_model.vera_B"] += 1
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text((folder / "adapter_config.json").read_text())
    with pytest.raises(MendableError, match="frozen projection vera_B"):
        attach(loaded(base), dataclasses.replace(section, init_from=str(tmp_path)))


def test_pissa_starts_the_same_whatever_the_random_state_and_leaves_that_alone(base, tmp_path):
    section, starts = dataclasses.replace(SMALL, kind="pissa"), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.random.get_rng_state()
        model, _ = attach(loaded(base), section)
        starts.append(model.adapter_start)
        # the fresh tensors' own random values are drawn inside, too
        assert torch.equal(torch.random.get_rng_state(), state)
    assert starts[0].keys() == starts[1].keys() and len(starts[0]) == 32
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


def test_a_training_goes_on_from_its_own_start_alone(base, tmp_path):
    section = dataclasses.replace(SMALL, kind="pissa")
    model, _ = attach(loaded(base), section)
    keep_start(model, tmp_path, write=False)
    assert not list(tmp_path.iterdir())
    keep_start(model, tmp_path, write=True)
    before = (tmp_path / "start.safetensors").stat().st_mtime_ns
    keep_start(shaken(model), tmp_path, write=True)  # what it holds by now does not matter
    assert (tmp_path / "start.safetensors").stat().st_mtime_ns == before
    other = loaded(base)
    with torch.no_grad():
        other.model.multi_modal_projector.linear_1.weight.mul_(1.05)
    with pytest.raises(MendableError, match=r"began with: it differs in 1 of 16 layers.*linear_1"):
        keep_start(attach(other, section)[0], tmp_path, write=True)
    turned, _ = attach(loaded(base), section)  # as another machine's singular vectors may point the other way
    turned.adapter_start = {name: -tensor for name, tensor in turned.adapter_start.items()}
    keep_start(turned, tmp_path, write=True)
    keep_start(attach(loaded(base), SMALL)[0], tmp_path / "lora", write=True)
    assert not (tmp_path / "lora").exists()


@pytest.mark.parametrize(
    ("section", "key", "fix"),
    [
        (AdapterSection(full=("projector",)), "full", "write adapter.on=[language] beside adapter.full=[projector]"),
        (AdapterSection(kind="vera", on=("language",), full=("projector",)), "full", "adapt the part"),
        (AdapterSection(kind="pissa", init_from="x"), "init_from", "kind=lora"),
        (AdapterSection(kind="vera", b_lr_ratio=16), "b_lr_ratio", "b_lr_ratio=1"),
        (AdapterSection(b_lr_ratio=0), "b_lr_ratio", "LoRA+ advises 16"),
    ],
)
def test_choices_that_cannot_work_say_what_to_write(section, key, fix):
    ((found, _, mend),) = section.problems()
    assert found == key and fix in mend
