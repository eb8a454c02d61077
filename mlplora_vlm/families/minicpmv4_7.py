"""MiniCPM-V 4.7 (``MiniCPMV4_7ForConditionalGeneration``): 4.6 with positions laid out on the whole picture."""

from dataclasses import replace

from mlplora_vlm.families import minicpmv4_6

CARD = replace(minicpmv4_6.CARD, model_type="minicpmv4_7", name="MiniCPM-V 4.7")
