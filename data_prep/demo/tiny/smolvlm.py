"""The tiny SmolVLM2: Idefics3's layers, up to 3 x 3 squares and the whole, each with a name that is a token.

The template's format is that of SmolVLM2-2.2B-Instruct's published chat_template.json.
"""

from dataclasses import replace

from data_prep.demo.tiny import idefics3
from data_prep.demo.tiny.build import Token

BEGIN, END, PAD = "<|im_start|>", "<end_of_utterance>", "<|im_end|>"
IDS = {"bos_token_id": Token(BEGIN), "eos_token_id": Token(END), "pad_token_id": Token(PAD)}

TINY = replace(
    idefics3.TINY,
    model_type="smolvlm",
    config={**idefics3.TINY.config, "text_config": {**idefics3.TINY.config["text_config"], **IDS}},
    tokens=(
        *("<|endoftext|>", BEGIN, PAD, "<fake_token_around_image>", "<image>", END, "<global-img>"),
        *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
    ),
    bos=BEGIN,
    eos=END,
    pad=PAD,
    unk="<|endoftext|>",
    adds_bos=False,
    answer_ends=(),
    chat_template=idefics3.CHAT_TEMPLATE.replace(idefics3.TINY.bos or "", BEGIN),
    image_processor={
        "size": {"longest_edge": 3 * idefics3.SQUARE},
        "max_image_size": {"longest_edge": idefics3.SQUARE},
    },
)
