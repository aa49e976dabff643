"""Writes the seeds of tests/fuzz: small files of each format, whose names say whether they are to be read or refused."""

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import tarfile
import zipfile

import numpy
import torch
from safetensors.torch import load_file, save

seeds = pathlib.Path(__file__).parent / "seeds"


class Thing:
    def __init__(self):
        self.numbers = [1, 2.5, 2**70]


class System:
    def __reduce__(self):
        return os.system, ("true",)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(1, 2)

    def forward(self, x):
        return self.inner(x)


def put(name, content):
    (seeds / name).write_bytes(content)


def saved(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


plain = {"a": 1, "b": [None, True, -3, 2**40], "c": ("x", b"y", bytearray(b"z")), "d": {1, 2}, "e": frozenset([3])}
objects = {"thing": Thing(), "args": argparse.Namespace(lr=0.5), "array": numpy.arange(2), "number": numpy.float64(1)}
shared = [[1], 2]
shared[0].append(shared)
for protocol in range(2, 6):
    put(f"pickle/good-plain-{protocol}", pickle.dumps(plain | {"shared": shared}, protocol))
    put(f"pickle/good-objects-{protocol}", pickle.dumps(objects, protocol))
    put(f"pickle/bad-system-{protocol}", pickle.dumps(System(), protocol))
put("pickle/bad-text", pickle.dumps(plain, 0))

base = torch.arange(6.0)
tensors = collections.OrderedDict(base=base, view=base.view(2, 3).t(), flag=torch.tensor([True, False]),
                                  wide=torch.tensor([1, 2], dtype=torch.uint16), scalar=torch.tensor(7))
checkpoint = {"model": tensors, "weight": torch.nn.Parameter(torch.ones(2)), "epoch": 1} | objects
legacy, archive = saved(checkpoint, _use_new_zipfile_serialization=False), saved(checkpoint)
script = io.BytesIO()
torch.jit.save(torch.jit.script(Network()), script)
put("pth/good-legacy", legacy)
put("pth/good-zip", archive)
put("pth/good-script", script.getvalue())
put("pth/bad-legacy-cut", legacy[:-9])
put("pth/bad-zip-cut", archive[:-90])
put("pth/bad-system", saved({"a": System()}))
put("pth/bad-sparse", saved({"a": torch.eye(2).to_sparse()}))

for method, name in ((zipfile.ZIP_STORED, "good-stored"), (zipfile.ZIP_DEFLATED, "good-deflated")):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        file.writestr("a/one", "1" * 9)
        file.writestr("a/two", "")
    put(f"zip/{name}", stream.getvalue())
put("zip/good-torch", saved({"a": base}))
put("zip/bad-cut", saved({"a": base})[:-1])
with zipfile.ZipFile(seeds / "zip/bad-twice", "w") as file:
    for text in ("1", "2"):
        file.writestr("a", text)

dense = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
put("safetensors/good-some", save(dense, {"format": "pt"}))
put("safetensors/good-none", save({}))
put("safetensors/bad-cut", save(dense)[:-1])
put("safetensors/bad-json", b"\x02\0\0\0\0\0\0\0[]")

# Images: those of the golden files.
golden = seeds.parents[1] / "golden"
images = {name[3:]: tensor.numpy().tobytes() for file in ("decode", "formats")
          for name, tensor in load_file(golden / f"{file}.safetensors").items() if name.startswith("in.")}
exif = load_file(golden / "formats.safetensors")
chosen = {
    "jpeg": ["jpeg_420", "jpeg_grey", "jpeg_progressive", "jpeg_cmyk"],
    "png": ["png_grey_1", "png_palette_4_transparent", "png_grey_16", "png_rgba_8_interlaced", "png_rgb_16"],
    "webp": ["webp", "webp_lossless", "webp_lossy_alpha", "webp_animated", "webp_small_frame"],
    "gif": ["gif_interlaced", "gif_small_frame_transparent", "gif_no_palette", "gif_animated", "gif_long_codes"],
    "bmp": ["bmp_1", "bmp_rle8", "bmp_rle4", "bmp_16_565", "bmp_24_core", "bmp_32_rgba_5"],
}
for format, names in chosen.items():
    (seeds / format).mkdir(exist_ok=True)
    for name in names:
        short = name.removeprefix(format).lstrip("_") or "lossy"
        put(f"{format}/good-{short}", images[name])
    if format == "png":  # libpng would take 2 GiB for the chunk
        data = images[names[0]]
        put("png/bad-chunk", data[:33] + b"\x7f\xff\xff\xf0eXIfMM\0*" + data[33:])
    put(f"{format}/bad-cut", images[names[0]][:-40])
    if f"exif.6_{format}" in exif:
        put(f"{format}/good-turned", exif[f"exif.6_{format}"].numpy().tobytes())

# Where images are: archives, lists and indexes of packed archives.
for format in ("tar", "list", "index"):
    (seeds / format).mkdir(exist_ok=True)


def tar(members, form=tarfile.USTAR_FORMAT):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.LNKTYPE, content
                content = b""
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    content = stream.getvalue().rstrip(b"\0")  # without most of the zeros that fill up 10 KiB
    return content + bytes(-len(content) % 512 + 1024)


long_name = "d" * 60 + "/" + "f" * 110 + ".png"
folders = {"./cat/a.jpg": b"pixels", "dog/b.png": "./cat/a.jpg", "dog/c.png": b""}
put("tar/good-classes", tar({"a.jpg": b"pixels", "a.cls": b"3", "b.png": b"pixels", "b.cls": b"-1"}))
put("tar/good-json", tar({"a.jpg": b"pixels", "a.json": b'{"label": "cat", "url": "u"}', "a.txt": b"words"}))
put("tar/good-folders", tar(folders))
put("tar/good-gnu", tar({long_name: b"pixels"}, tarfile.GNU_FORMAT))
put("tar/good-pax", tar({long_name: b"pixels", "\xe9.png": b""}, tarfile.PAX_FORMAT))
put("tar/bad-cut", tar(folders)[:1000])
put("tar/bad-link", tar({"a.png": "none.png"}))
put("tar/bad-class", tar({"a.jpg": b"pixels", "a.cls": b"cat"}))
put("tar/bad-checksum", b"b" + tar(folders)[1:])

put("list/good-numbers", b"path,label\na/b.jpg,7\nc d.PNG\t0\r\n\ne.webp -1\n")
put("list/good-names", b"\xef\xbb\xbfa.jpg golden retriever\nb, c.png 3.gif,cat\nd.bmp")
put("list/bad-line", b"a.jpg 1\nnotes\n")
put("list/bad-mixed", b"a.jpg 1\nb.jpg cat\n")
put("list/bad-twice", b"a.jpg 1\na.jpg 1\n")
put("list/bad-number", b"a.jpg 1000000\n")

index = {"format": "beit-shard-1", "name": "shard", "shard": 0, "shards": 2, "archive_bytes": 4096,
         "archive_crc32": 4294967295, "classes": ["cat", "d\u00f6g"], "images": ["0-a.png", "1-b.jpg"],
         "offsets": [512, 2048], "sizes": [6, 0], "labels": [1, -1], "crc32": [0, 7]}
numbered = {key: value for key, value in index.items() if key != "classes"} | {"labels": [999999, 0]}
put("index/good-names", json.dumps(index).encode())
put("index/good-numbers", json.dumps(numbered).encode())
put("index/bad-cut", json.dumps(index).encode()[:-1])
put("index/bad-outside", json.dumps(index | {"offsets": [512, 4097]}).encode())
put("index/bad-label", json.dumps(index | {"labels": [2, 0]}).encode())
put("index/bad-columns", json.dumps(index | {"sizes": [6]}).encode())
put("index/bad-order", json.dumps(index | {"classes": ["b", "a"]}).encode())
