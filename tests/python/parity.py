"""Writes what PyTorch's statement of the method computes at base size: tokenizer.safetensors and mim.safetensors.

    python tests/python/parity.py FOLDER

224x224 pixels, width 768, 12 blocks, 12 heads, 8192 codes of width 32, float32, a batch of 2 seeded images. Each file
holds inputs `in.*`, weights `w.*`, results `out.*` and the gradients `grad.*` of the loss.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "shared/oracle"))
import beit2_oracle as oracle  # noqa: E402


class Given:
    """A teacher whose features are given."""

    def __init__(self, features):
        self.features = features

    def patch_tokens(self, images):
        return self.features


def off_trivial(model):
    """Moves biases, norms, tokens and bias tables off their initial values, so that an error in them shows."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and (parameter.ndim <= 1 or "table" in name or "token" in name):
            parameter.data.add_(torch.randn_like(parameter) * 0.05)


def save(path, model, weights, tensors):
    tensors.update({"w." + name: value for name, value in weights.items()})
    tensors.update({"grad." + name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, path)


def tokenizer(path):
    torch.manual_seed(1)
    images, target = torch.rand(2, 3, 224, 224), torch.randn(2, 196, 512)
    model = oracle.vqkd_base(teacher=Given(target), attention="sdpa").train()
    off_trivial(model)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    loss, reconstruction, commitment, ids, _, _ = model(images)
    loss.backward()
    save(path, model, weights, {"in.images": images, "in.target": target, "out.reconstruction": reconstruction,
                                "out.commitment": commitment, "out.ids": ids,
                                "out.codebook": model.quantize.embedding.weight})


def mim(path):
    torch.manual_seed(2)
    images, codes = torch.randn(2, 3, 224, 224), torch.randint(8192, (2, 196))
    mask = torch.stack([torch.randperm(196) < 75 for _ in range(2)])
    model = oracle.mim_base().train()
    off_trivial(model)
    main, cls_pt = model(images, mask)
    losses = [torch.nn.functional.cross_entropy(logits, codes[mask]) for logits in (main, cls_pt)]
    sum(losses).backward()
    save(path, model, model.state_dict(), {"in.images": images, "in.mask": mask, "in.codes": codes, "out.logits_main": main,
                                           "out.logits_cls_pt": cls_pt, "out.loss_main": losses[0],
                                           "out.loss_cls_pt": losses[1]})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    tokenizer(folder / "tokenizer.safetensors")
    mim(folder / "mim.safetensors")
