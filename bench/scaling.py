"""What a step of pre-training costs on one device and on many: measured on one rank, foretold for more by the model of
docs/SCALING.md, and checked against what 2 and 4 ranks on this machine show.

    python bench/scaling.py [--models base,large] [--ranks 1,2,4] [--steps 6] [--data IMAGES] [--json FILE]
    python bench/scaling.py --memory    # what saves memory, and what it costs, at base size and 16 images

Runs `beit pretrain` with one thread a rank and the same images a rank for every number of ranks. The links' speed is
that of an all-reduce by Gloo among as many processes with nothing else to do, which needs PyTorch in this Python.
"""
import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUCKET = 25 * 2**20
IMAGES_A_RANK = {"base": 4, "large": 2, "tiny": 4}


def beit(*words):
    done = subprocess.run([ROOT / "build/release/beit", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


def parameter_bytes(run):
    """Of what is trained: all but buffers, which the names tell."""
    with open(run / "model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return sum(entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in header.items()
               if name != "__metadata__" and not name.endswith("relative_position_index"))


def pretrain(model, tokenizer, data, ranks, steps, folder, *more):
    """Median seconds of a step without the first, and the most memory of the first rank."""
    run = folder / f"{model}-{ranks}"
    batch = IMAGES_A_RANK[model] * ranks
    beit("pretrain", "--model", model, "--tokenizer", tokenizer, "--data", data, "--ranks", ranks, "--threads", 1,
         "--workers", 1, "--batch-size", batch, "--steps", steps, "--log-every", 1, "--warmup-epochs", 0, "--device",
         "cpu", "--events-every", -1, "--output", run, *more)
    lines = [json.loads(line) for line in open(run / "log.jsonl")]
    steps = [line for line in lines if "images_per_s" in line][1:]
    return {"seconds": statistics.median(batch / line["images_per_s"] for line in steps),
            "memory": max(line["memory_bytes"] for line in steps), "parameter_bytes": parameter_bytes(run)}


MEMORY = {"16 images": [], "in 4 parts": ["--accumulate", 4], "recomputed": ["--recompute"], "bf16": ["--precision", "bf16"],
          "2 ranks of 8 images": ["--ranks", 2], "the same, optimizer in shards": ["--ranks", 2, "--shard-optimizer"]}


def memory_table(tokenizer, data, folder):
    print("| base, 16 images a step | seconds | memory of a process |\n| --- | --- | --- |")
    for name, words in MEMORY.items():
        run = folder / "memory"
        threads = [] if "--ranks" not in words else ["--threads", 1]
        beit("pretrain", "--model", "base", "--tokenizer", tokenizer, "--data", data, "--batch-size", 16, "--steps", 2,
             "--log-every", 1, "--warmup-epochs", 0, "--device", "cpu", "--events-every", -1, "--output", run, *threads,
             *words)
        lines = [json.loads(line) for line in open(run / "log.jsonl")]
        last = [line for line in lines if "images_per_s" in line][-1]
        print(f"| {name} | {16 / last['images_per_s']:.1f} | {last['memory_bytes'] / 2**30:.2f} GiB |", flush=True)
        subprocess.run(["rm", "-r", run])


def all_reduce_worker(rank, ranks, port, repeats):
    import torch
    import torch.distributed as dist
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    bucket = torch.ones(BUCKET // 4)
    times = []
    for _ in range(repeats):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(bucket)
        times.append(time.perf_counter() - start)
        bucket.fill_(1)
    if rank == 0:
        print(statistics.median(times))
    dist.destroy_process_group()


def all_reduce_seconds(ranks, repeats=15):
    """Of one bucket of 25 MiB."""
    if ranks == 1:
        return 0.0
    port = 29400 + os.getpid() % 1000 + ranks
    workers = [subprocess.Popen([sys.executable, __file__, "--worker", f"{rank},{ranks},{port},{repeats}"],
                                stdout=subprocess.PIPE, text=True) for rank in range(ranks)]
    outputs = [worker.communicate()[0] for worker in workers]
    return float(outputs[0])


def foretold(one, ranks, cores, bucket_seconds):
    """docs/SCALING.md: cores are shared, and where all are busy no sum hides behind the backward pass."""
    return one["seconds"] * max(1.0, ranks / cores) + one["parameter_bytes"] / BUCKET * bucket_seconds


def many(one, devices, bytes_per_second, backward_share=0.6):
    """Seconds of a step where each device has its own processor and the links' bytes a second, and those that it sends."""
    sent = 2 * (devices - 1) / devices * one["parameter_bytes"]
    last_bucket = 2 * (devices - 1) / devices * min(BUCKET, one["parameter_bytes"]) / bytes_per_second
    exposed = max(0.0, sent / bytes_per_second - backward_share * one["seconds"])
    return one["seconds"] + max(exposed, last_bucket if devices > 1 else 0.0), sent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="base,large")
    parser.add_argument("--ranks", default="1,2,4")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--data", default=str(ROOT.parent / "shared/data/imagenet-sample"))
    parser.add_argument("--json", default=str(ROOT / "bench/scaling.json"))
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return all_reduce_worker(*map(int, options.worker.split(",")))

    cores = len(os.sched_getaffinity(0))
    results = {"cores": cores, "processor": processor(), "links": {}, "models": {}}
    for ranks in [] if options.memory else map(int, options.ranks.split(",")):
        results["links"][ranks] = all_reduce_seconds(ranks)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tokenizer = folder / "tokenizer"
        beit("vqkd", "--model", "base", "--teacher", "hog", "--data", options.data, "--batch-size", 2, "--steps", 1,
             "--warmup-epochs", 0, "--device", "cpu", "--events-every", -1, "--output", tokenizer)
        if options.memory:
            return memory_table(tokenizer, options.data, folder)
        for model in options.models.split(","):
            rows = {}
            for ranks in map(int, options.ranks.split(",")):
                if ranks > 1 and 1.3 * ranks * rows[1]["memory"] > memory_bytes():
                    print(f"{model}, {ranks} ranks: left out, as there is not enough memory", flush=True)
                    continue
                rows[ranks] = pretrain(model, tokenizer, options.data, ranks, options.steps, folder)
                subprocess.run(["rm", "-r", folder / f"{model}-{ranks}"])
                rows[ranks]["foretold"] = foretold(rows[1], ranks, cores, results["links"][ranks])
                print(f"{model}, {ranks} ranks: {rows[ranks]['seconds']:.2f} s a step, foretold "
                      f"{rows[ranks]['foretold']:.2f}; {rows[ranks]['memory'] / 2**30:.2f} GiB", flush=True)
            results["models"][model] = rows
    pathlib.Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))


def memory_bytes():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def processor():
    return next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")


def tables(results):
    """For this machine's core as a device, and for one a hundred times as fast, at two speeds of the links."""
    text = ""
    for model, rows in results["models"].items():
        one = rows[1]
        text += (f"\n{model}: {IMAGES_A_RANK[model]} images a device, {one['parameter_bytes'] / 2**20:.0f} MiB of gradients, "
                 f"{one['seconds']:.2f} s a step alone\n\n| devices | sent a step and device | this core, 10 Gbit/s | "
                 "100 times as fast, 10 Gbit/s | 100 times as fast, 100 Gbit/s |\n| --- | --- | --- | --- | --- |\n")
        for devices in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            cells = []
            for speed, link in ((1, 1.25e9), (100, 1.25e9), (100, 12.5e9)):
                device = {**one, "seconds": one["seconds"] / speed}
                seconds, sent = many(device, devices, link)
                cells.append(f"{seconds:.3g} s ({100 * device['seconds'] / seconds:.0f}%)")
            text += f"| {devices} | {sent / 2**20:.0f} MiB | {' | '.join(cells)} |\n"
    return text


if __name__ == "__main__":
    main()
