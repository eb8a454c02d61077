"""The tiny PaliGemma 2: sliding-window and full attention in turn, behind a SigLIP tower of width 32."""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

PIXELS, PATCH = 28, 14  # (28 / 14)^2 = 4 picture tokens

TINY = TinyFamily(
    model_type="paligemma",
    config={
        "image_token_index": Token("<image>"),
        "vocab_size": 0,
        "hidden_size": 48,
        "projection_dim": 48,
        "tie_word_embeddings": True,
        "bos_token_id": Token("<bos>"),
        "eos_token_id": Token("<eos>"),
        "pad_token_id": Token("<pad>"),
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": PIXELS,
            "patch_size": PATCH,
            "vision_use_head": False,
        },
        "text_config": {
            "model_type": "gemma2",
            **DECODER,
            "head_dim": 12,
            "query_pre_attn_scalar": 12,
            "sliding_window": 16,
            "bos_token_id": Token("<bos>"),
            "eos_token_id": Token("<eos>"),
            "pad_token_id": Token("<pad>"),
        },
    },
    tokens=("<pad>", "<eos>", "<bos>", "<unk>", "<image>"),
    bos="<bos>",
    eos="<eos>",
    pad="<pad>",
    unk="<unk>",
    adds_bos=True,  # the processor switches that off
    chat_template=None,
    image_processor={"size": {"height": PIXELS, "width": PIXELS}, "image_seq_length": (PIXELS // PATCH) ** 2},
)
