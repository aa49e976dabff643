"""From transformers' names to the reference's: the statement that the program's own maps are checked against."""
import re

import torch

# In this order; patterns of regular expressions.
_RENAMED = (
    (r"^beit\.", ""),
    (r"^encoder\.layer\.", "blocks."),
    (r"^encoder\.relative_position_bias\.", "rel_pos_bias."),
    (r"attention\.attention\.relative_position_bias\.", "attn."),
    (r"attention\.output\.dense", "attn.proj"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"output\.dense", "mlp.fc2"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"lambda_", "gamma_"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"^pooler\.layernorm", "fc_norm"),
    (r"^layernorm", "norm"),
    (r"^classifier", "head"),
)


def reference_from_hf(tensors):
    """The same tensors under the reference's names: one qkv matrix, its biases apart."""
    reference = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        reference[name] = tensor
    for name in [name for name in reference if name.endswith("attention.attention.query.weight")]:
        old, new = name.removesuffix("query.weight"), name.replace("attention.attention.query.weight", "attn.")
        parts = [reference.pop(f"{old}{part}.weight") for part in ("query", "key", "value")]
        reference[new + "qkv.weight"] = torch.cat(parts)
        reference[new + "q_bias"] = reference.pop(old + "query.bias")
        reference[new + "v_bias"] = reference.pop(old + "value.bias")
    return reference
