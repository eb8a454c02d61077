"""What the stages' fork server imports once, so that each stage starts at once."""

import datasets  # noqa: F401
import peft  # noqa: F401
import torch  # noqa: F401
from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401
