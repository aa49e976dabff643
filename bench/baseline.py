"""PyTorch's side of what the oracle's bench.py does not time; bench/compare.py runs it with a Python that has PyTorch.

    python baseline.py ORACLE extra-memory [--batch 64] [--threads 2]   # of the quantizer's step, as a line of JSON
    python baseline.py ORACLE make-files WEIGHTS IMAGE                  # a tokenizer in the published form; a photograph
    python baseline.py ORACLE tokenize WEIGHTS IMAGE [--threads 2] [--fast-start]   # prints the image's codes
"""
import argparse
import json
import resource
import sys

import torch


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def extra_memory(args):
    import bench
    step = bench.case(argparse.Namespace(case="quantizer", batch=args.batch))
    start_mib = peak_mib()
    for _ in range(3):
        step()
    print(json.dumps({"start_mib": start_mib, "peak_mib": peak_mib()}))


def make_files(args):
    import beit2_oracle as oracle
    from PIL import Image
    torch.manual_seed(0)
    model = oracle.vqkd_base(decoder_depth=3)
    for parameter in model.encoder.parameters():  # off zeros and ones, so that patches differ in their codes
        parameter.data.add_(torch.randn_like(parameter), alpha=0.02)
    torch.save({"model": model.state_dict()}, args.weights)
    coarse = torch.randint(0, 256, (24, 32, 3), dtype=torch.uint8).numpy()
    Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(args.image, quality=92)


def view(path, size=224, short_side=256):
    """The evaluation's view, [1, 3, 224, 224] in [0, 1]."""
    import numpy
    from PIL import Image
    image = Image.open(path).convert("RGB")
    scale = short_side / min(image.size)
    image = image.resize([int(scale * side) for side in image.size], Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2) for side in image.size)
    pixels = numpy.asarray(image.crop((left, top, left + size, top + size)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def tokenize(args):
    """As users write it; with --fast-start without initial values that are overwritten, and the file mapped."""
    import beit2_oracle as oracle
    if args.fast_start:
        torch.nn.init.trunc_normal_ = torch.nn.init.kaiming_uniform_ = lambda tensor, *_, **__: tensor
    model = oracle.vqkd_base(decoder_depth=3, attention="sdpa" if args.fast_start else "plain").eval()
    weights = torch.load(args.weights, weights_only=True, mmap=args.fast_start)["model"]
    model.load_state_dict(weights, assign=args.fast_start)
    codes_NN = model.codes(view(args.image)).view(14, 14)
    for row in codes_NN.tolist():
        print(" ".join(f"{code:4}" for code in row))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("oracle")
    tasks = parser.add_subparsers(required=True)
    for name, task in (("extra-memory", extra_memory), ("make-files", make_files), ("tokenize", tokenize)):
        sub = tasks.add_parser(name)
        sub.set_defaults(task=task)
        sub.add_argument("--threads", type=int, default=2)
        if name == "extra-memory":
            sub.add_argument("--batch", type=int, default=64)
        else:
            sub.add_argument("weights")
            sub.add_argument("image")
        if name == "tokenize":
            sub.add_argument("--fast-start", action="store_true")
    args = parser.parse_args()
    sys.path.insert(0, args.oracle)
    torch.set_num_threads(args.threads)
    args.task(args)


if __name__ == "__main__":
    main()
