"""The tiny MiniCPM-V 4.7: the tiny 4.6 with the ids that its positions are found by."""

from dataclasses import replace

from data_prep.demo.tiny import minicpmv4_6
from data_prep.demo.tiny.build import Token

TINY = replace(
    minicpmv4_6.TINY,
    model_type="minicpmv4_7",
    config={
        **minicpmv4_6.CONFIG,
        "image_start_id": Token("<image>"),
        "image_end_id": Token("</image>"),
        "slice_start_id": Token("<slice>"),
        "slice_end_id": Token("</slice>"),
        "newline_id": Token("Ċ"),  # how byte-level tokenizers write a line break
    },
)
