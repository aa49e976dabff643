"""Writes formats.safetensors: tiny images in every form of PNG, GIF and BMP, animated WebP, and files with an
orientation (in.NAME, the file's bytes), what Pillow makes of them (out.NAME, convert("RGB")), and for those of
grey values and palettes the indices themselves (indices.NAME). python formats.py; wants numpy, pillow, safetensors."""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

H, W = 7, 9
rng = np.random.default_rng(11)
files, indices = {}, {}


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed(row, bits):
    """Values of `bits` bits to bytes, the first the highest."""
    if bits == 16:
        return row.astype(">u2").tobytes()
    text = "".join(format(int(v), f"0{bits}b") for v in row.reshape(-1))
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))


def png(values, bits, color, interlaced=False, extra=b""):
    """values: [H, W] or [H, W, channels]"""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for top, left, down, right in passes if interlaced else [(0, 0, 1, 1)]:
        for row in values[top::down, left::right]:
            if row.size:
                data += b"\0" + packed(row, bits)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, color, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def values(bits, channels=None):
    shape = (H, W) if channels is None else (H, W, channels)
    return rng.integers(0, 1 << bits, shape)


def palette(count):
    return rng.integers(0, 256, (count, 3), dtype=np.uint8).tobytes()


for interlaced in (False, True):
    end = "_interlaced" if interlaced else ""
    for bits in (1, 2, 4, 8, 16):
        name = f"png_grey_{bits}{end}"
        v = values(bits)
        if bits == 16:  # around the cut at 255
            v[::2] %= 300
        files[name] = png(v, bits, 0, interlaced)
        if bits <= 8:
            indices[name] = v
            name = f"png_palette_{bits}{end}"
            v = values(bits)
            files[name] = png(v, bits, 3, interlaced, chunk(b"PLTE", palette(1 << bits)))
            indices[name] = v
        else:
            files[f"png_rgb_16{end}"] = png(values(16, 3), 16, 2, interlaced)
        if bits >= 8:
            files[f"png_grey_alpha_{bits}{end}"] = png(values(bits, 2), bits, 4, interlaced)
            files[f"png_rgba_{bits}{end}"] = png(values(bits, 4), bits, 6, interlaced)
v = values(4)
files["png_palette_4_transparent"] = png(v, 4, 3, extra=chunk(b"PLTE", palette(16)) + chunk(b"tRNS", b"\0\x7f\xff"))
indices["png_palette_4_transparent"] = v
files["png_palette_8_short"] = png(values(8), 8, 3, extra=chunk(b"PLTE", palette(100)))
files["png_grey_16_transparent"] = png(values(16) % 400, 16, 0, extra=chunk(b"tRNS", b"\0\x09"))
files["png_grey_2_transparent"] = png(values(2), 2, 0, extra=chunk(b"tRNS", b"\0\x01"))
files["png_one_pixel"] = png(values(8, 3)[:1, :1], 8, 2)


def lzw(values, bits):
    """GIF's compression, with a table that is cleared before it would grow."""
    clear, size = 1 << bits, bits + 1
    codes = []
    for i, value in enumerate(values):
        if i % max(1, (1 << bits) - 2) == 0:
            codes.append(clear)
        codes.append(int(value))
    codes.append(clear + 1)
    number = sum(code << (size * i) for i, code in enumerate(codes))
    data = number.to_bytes((len(codes) * size + 7) // 8, "little")
    blocks = b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255))
    return bytes([bits]) + blocks + b"\0"


def gif(frames, screen=(W, H), colors=None, version=b"89a"):
    """frames: (values, bits, left, top, local palette or None, interlaced, transparent index or None)"""
    def size_bits(table):
        return (len(table) // 3).bit_length() - 2
    out = b"GIF" + version + struct.pack("<HHBBB", *screen, 0x80 | size_bits(colors) if colors else 0, 0, 0)
    out += colors or b""
    for v, bits, left, top, local, interlaced, transparent in frames:
        if transparent is not None:
            out += b"!\xf9\x04" + bytes([1, 0, 0, transparent]) + b"\0"
        flags = (0x80 | size_bits(local) if local else 0) | (0x40 if interlaced else 0)
        out += b"," + struct.pack("<HHHHB", left, top, v.shape[1], v.shape[0], flags) + (local or b"")
        if interlaced:
            v = np.concatenate([v[0::8], v[4::8], v[2::4], v[1::2]])
        out += lzw(v.reshape(-1), bits)
    return out + b";"


big = rng.integers(0, 256, (19, 5))
colors = palette(16)
grey8 = bytes(i for i in range(8) for _ in range(3))
files["gif"] = gif([(values(4), 4, 0, 0, None, False, None)], colors=colors)
files["gif_87"] = gif([(values(4), 4, 0, 0, None, False, None)], colors=colors, version=b"87a")
files["gif_interlaced"] = gif([(big, 8, 0, 0, None, True, None)], screen=(5, 19), colors=palette(256))
files["gif_local_palette"] = gif([(values(2), 2, 0, 0, palette(4), False, None)], colors=colors)
files["gif_transparent"] = gif([(values(4), 4, 0, 0, None, False, 3)], colors=colors)
files["gif_small_frame"] = gif([(values(4)[:4, :5], 4, 2, 1, None, False, None)], colors=colors)
files["gif_small_frame_transparent"] = gif([(values(4)[:4, :5], 4, 2, 1, palette(16), True, 9)], colors=colors)
files["gif_beyond_screen"] = gif([(values(4), 4, 3, 2, None, False, None)], colors=colors)
files["gif_no_palette"] = gif([(values(4), 4, 0, 0, None, False, None)])
files["gif_grey_palette"] = gif([(values(4), 4, 0, 0, None, False, None)], colors=grey8)
files["gif_short_palette"] = gif([(values(4), 4, 0, 0, None, False, None)], colors=palette(8))
files["gif_animated"] = gif([(values(4), 4, 0, 0, None, False, None), (values(4), 4, 0, 0, None, False, 1)], colors=colors)
smooth = Image.fromarray((np.add.outer(np.arange(40) * 3, np.arange(30) * 2)).astype(np.uint8)).convert("P")
files["gif_long_codes"] = encoded(smooth.resize((60, 50)), "GIF")

frames = [Image.fromarray(values(8, 4).astype(np.uint8)) for _ in range(3)]
files["webp_animated"] = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, exact=True)
files["webp_animated_lossy"] = encoded(frames[0].convert("RGB"), "WEBP", save_all=True, append_images=[frames[1].convert("RGB")])
files["webp_lossy_alpha"] = encoded(frames[0], "WEBP", quality=60)
files["webp_lossless"] = encoded(frames[0].convert("RGB"), "WEBP", lossless=True)


def webp_small_frame():
    """An animation of one frame of 9 x 7 at (4, 2) of a canvas of 15 x 11."""
    still = encoded(frames[1], "WEBP", lossless=True, exact=True)
    body = still[12:]  # one VP8L chunk
    assert body[:4] == b"VP8L"
    def u24(value):
        return value.to_bytes(3, "little")
    def riff(kind, data):
        return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    head = riff(b"VP8X", bytes([0x12, 0, 0, 0]) + u24(W + 5) + u24(H + 3))
    anim = riff(b"ANIM", bytes([255, 0, 0, 255]) + b"\0\0")
    frame = riff(b"ANMF", u24(2) + u24(1) + u24(W - 1) + u24(H - 1) + u24(100) + b"\0" + body)
    data = b"WEBP" + head + anim + frame
    return b"RIFF" + struct.pack("<I", len(data)) + data


files["webp_small_frame"] = webp_small_frame()


def bmp(rows, bits, colors=b"", compression=0, height=None, masks=b"", header=40, count=0):
    """rows: bytes of the pixels in the file's order"""
    height = H if height is None else height
    if header == 12:
        info = struct.pack("<IHHHH", 12, W, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, W, height, 1, bits, compression, len(rows), 0, 0, count, 0)
        info += masks
        info += b"\0" * (header - len(info) if header > 40 else 0)
    start = 14 + len(info) + len(colors)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + colors + rows


def bmp_rows(values, bits):
    def row(r):
        data = packed(r, bits) if bits <= 8 else r.astype("<u4").tobytes()
        if 8 < bits < 32:
            data = b"".join(int(v).to_bytes(bits // 8, "little") for v in r)
        return data + b"\0" * (-len(data) % 4)
    return b"".join(row(r) for r in values)


def quads(count):
    return rng.integers(0, 256, (count, 4), dtype=np.uint8).tobytes()


for bits in (1, 4, 8):
    files[f"bmp_{bits}"] = bmp(bmp_rows(values(bits), bits), bits, quads(1 << bits))
files["bmp_8_few_colors"] = bmp(bmp_rows(values(3), 8), 8, quads(8), count=8)
files["bmp_8_short_palette"] = bmp(bmp_rows(values(4), 8), 8, quads(8), count=8)
files["bmp_8_grey"] = encoded(Image.fromarray(values(8).astype(np.uint8)), "BMP")
files["bmp_1_grey"] = encoded(Image.fromarray(values(1).astype(bool)), "BMP")
files["bmp_8_core"] = bmp(bmp_rows(values(8), 8), 8, palette(256), header=12)
files["bmp_24_core"] = bmp(bmp_rows(values(24), 24), 24, header=12)
for bits in (16, 24, 32):
    files[f"bmp_{bits}"] = bmp(bmp_rows(values(bits), bits), bits)
    files[f"bmp_{bits}_top_down"] = bmp(bmp_rows(values(bits), bits), bits, height=-H)
def bit_masks(*m):
    return struct.pack("<" + "I" * len(m), *m)
files["bmp_16_565"] = bmp(bmp_rows(values(16), 16), 16, compression=3, masks=bit_masks(0xF800, 0x7E0, 0x1F))
files["bmp_16_555"] = bmp(bmp_rows(values(16), 16), 16, compression=3, masks=bit_masks(0x7C00, 0x3E0, 0x1F))
files["bmp_32_bgrx"] = bmp(bmp_rows(values(32), 32), 32, compression=3, masks=bit_masks(0xFF0000, 0xFF00, 0xFF))
files["bmp_32_rgba_5"] = bmp(bmp_rows(values(32), 32), 32, compression=3, header=124,
                            masks=bit_masks(0xFF, 0xFF00, 0xFF0000, 0xFF000000))
files["bmp_32_xbgr_4"] = bmp(bmp_rows(values(32), 32), 32, compression=3, header=108,
                            masks=bit_masks(0xFF000000, 0xFF0000, 0xFF00, 0))
# Runs, absolute runs of odd and even length, ends of lines before their end, a jump.
runs = (bytes([5, 17, 4, 200, 0, 0]) + bytes([0, 3, 1, 2, 3, 0, 0, 4, 9, 8, 7, 6, 2, 40, 0, 0]) + bytes([3, 99, 0, 0]) +
        bytes([2, 11, 0, 2, 3, 2, 4, 12, 0, 0]) + bytes([9, 5, 0, 0, 9, 6, 0, 1]))
files["bmp_rle8"] = bmp(runs, 8, quads(256), compression=1)
runs = (bytes([5, 0x12, 4, 0x34, 0, 0]) + bytes([0, 4, 0x12, 0x34, 5, 0x56, 0, 0]) + bytes([3, 0x99, 0, 0]) +
        bytes([2, 0x1b, 0, 2, 3, 2, 4, 0x21, 0, 0]) + bytes([9, 0x5a, 0, 0, 9, 0x6c, 0, 1]))
files["bmp_rle4"] = bmp(runs, 4, quads(16), compression=2)
files["bmp_rle8_top_down"] = bmp(bytes([9, 1, 0, 0] * H), 8, quads(256), compression=1, height=-H)

upright = Image.fromarray(values(8, 3).astype(np.uint8))
tensors = {}
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    tensors[f"oriented.{orientation}"] = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(
        encoded(upright, "PNG", exif=exif)))))
    if orientation in (1, 6):
        for kind, options in (("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True})):
            tensors[f"exif.{orientation}_{kind.lower()}"] = np.frombuffer(encoded(upright, kind, exif=exif, **options), np.uint8)
for name, data in files.items():
    image = Image.open(io.BytesIO(data))
    tensors["in." + name] = np.frombuffer(data, np.uint8)
    tensors["out." + name] = np.asarray(image.convert("RGB"))
for name, v in indices.items():
    tensors["indices." + name] = v.astype(np.uint8)

# What Pillow misreads, and what the format says: greys, for they are easily stated.
def misread(name, data, grey):
    tensors["misread." + name] = np.frombuffer(data, np.uint8)
    tensors["right." + name] = np.repeat(np.asarray(grey, np.uint8)[..., None], 3, -1)


steps, two = bytes(b for i in range(16) for b in (i, i, i, 0)), bytes([0, 0, 0, 0, 255, 255, 255, 0])
v = values(4)
misread("grey_steps", bmp(bmp_rows(v[::-1], 4), 4, steps), v)
for bits in (4, 8):
    v = values(1)
    misread(f"black_and_white_{bits}", bmp(bmp_rows(v[::-1], bits), bits, two, count=2), v * 255)
runs = bytes([0, 5, 0x12, 0x34, 0x50, 0, 4, 0x22, 0, 0]) + bytes([9, 0x11, 0, 0]) * (H - 1)
misread("odd_run", bmp(runs, 4, steps, compression=2), [[1] * W] * (H - 1) + [[1, 2, 3, 4, 5, 2, 2, 2, 2]])
save_file(tensors, os.path.join(os.path.dirname(os.path.abspath(__file__)), "formats.safetensors"))
