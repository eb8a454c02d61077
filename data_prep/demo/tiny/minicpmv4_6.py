"""The tiny MiniCPM-V 4.6: the tiny Qwen3.5's language model, a tower that merges windows half way, up to four slices.

The template's format is that of the published chat_template.jinja without thinking: Qwen3.5's, and a line break after
each picture.
"""

from data_prep.demo.tiny import qwen3_5
from data_prep.demo.tiny.build import TinyFamily, Token

CHAT_TEMPLATE = qwen3_5.CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<|image_pad|>\\n")
CONFIG = {
    "image_token_id": Token("<|image_pad|>"),
    "video_token_id": Token("<|video_pad|>"),
    "tie_word_embeddings": False,
    "insert_layer_id": 1,
    "image_size": 112,
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 61,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 112,
        "patch_size": 14,
    },
    "text_config": {"model_type": "qwen3_5_text", **qwen3_5.TINY.config["text_config"]},
}
MARKS = {
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}

TINY = TinyFamily(
    model_type="minicpmv4_6",
    config=CONFIG,
    tokens=(*qwen3_5.TINY.tokens, *MARKS.values()),
    eos="<|im_end|>",
    pad="<|endoftext|>",
    named_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", **MARKS},
    chat_template=CHAT_TEMPLATE,
    image_processor={"scale_resolution": 112, "max_slice_nums": 4},
)
