"""The tiny Mistral Small 3.1: a Pixtral tower, pictures in their own shape with a token at the end of each row.

The template's format is that of the published chat_template.json, without the system turn that tells the date.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'user' %}{{- '[INST]' }}{% endif -%}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '[IMG]' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '[/INST]' if message['role'] == 'user' else eos_token -}}
{%- endfor -%}
"""

TINY = TinyFamily(
    model_type="mistral3",
    config={
        "image_token_index": Token("[IMG]"),
        "spatial_merge_size": 2,
        "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "pixtral",
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 112,
            "patch_size": 14,
        },
        "text_config": {
            "model_type": "mistral",
            **DECODER,
            "head_dim": 10,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "bos_token_id": Token("<s>"),
            "eos_token_id": Token("</s>"),
            "pad_token_id": Token("<pad>"),
        },
    },
    tokens=("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    bos="<s>",
    eos="</s>",
    pad="<pad>",
    unk="<unk>",
    adds_bos=True,
    chat_template=CHAT_TEMPLATE,
    image_processor={"size": {"longest_edge": 112}, "patch_size": 14},
    processor={"patch_size": 14, "spatial_merge_size": 2},
)
