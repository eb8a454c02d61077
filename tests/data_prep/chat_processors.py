"""A processor for the tests of the chat's text: the tiny one, also with the template of llava-hf's models."""

from __future__ import annotations

import json

from tiny_llava import TEXT, build_processor
from tokenizers import Tokenizer, decoders, models, normalizers, trainers
from tokenizers import processors as processors_
from transformers import LlavaProcessor, PreTrainedTokenizerFast

from mlplora_vlm.families.processor import FamilyProcessor

# As llava-hf/llava-1.5-7b-hf has it: "USER: <image>\nquestion ASSISTANT: answer ", without an end-of-sequence token
LLAVA_HF = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def processors():
    """The chat templates whose labels are tested, by name; "llama" has LLaVA-1.5's kind of tokenizer too."""
    plain, llava = build_processor(), build_processor()
    llava.stock.chat_template = LLAVA_HF
    llama = LlavaProcessor(
        image_processor=plain.image_processor,
        tokenizer=llama_tokenizer(),
        patch_size=plain.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_HF,
    )
    return {"chatml": plain, "llava-hf": llava, "llama": FamilyProcessor(llama, plain.card)}


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Llama 2's rules: "▁" for spaces and before each stretch of text, bytes for rare signs, <s> put first by it."""
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=special + bytes_, show_progress=False)
    tokenizer.train_from_iterator([word for word in TEXT.split()] + [f" {word}" for word in TEXT.split()], trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors_.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
