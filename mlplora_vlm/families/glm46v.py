"""GLM-4.6V (``Glm46VForConditionalGeneration``): GLM-4.1V's layers with another processor and chat template."""

from dataclasses import replace

from mlplora_vlm.families import glm4v

CARD = replace(
    glm4v.CARD,
    model_type="glm46v",
    name="GLM-4.6V",
    text_answers=False,
    template_options={"enable_thinking": False},
    vllm="vLLM 0.33 has no class of its own for it; serve the merged model.",
)
