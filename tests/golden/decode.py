"""Writes decode.safetensors: small images in many forms (in.NAME, the file's bytes) and what Pillow makes of them
(out.NAME, convert("RGB")). python decode.py; wants numpy, pillow, safetensors."""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

rng = np.random.default_rng(7)
y, x = np.mgrid[0:19, 0:23]
smooth = np.stack([x * 11, y * 13, (x + y) * 6], -1) % 256
rgb = Image.fromarray((smooth * 0.8 + rng.integers(0, 50, smooth.shape)).clip(0, 255).astype(np.uint8))
alpha = Image.fromarray((x * 11).astype(np.uint8))
rgba = rgb.copy()
rgba.putalpha(alpha)


def png(rows, bits, color, interlaced=False, extra=b""):
    """A PNG file of ready rows of bytes: for forms that Pillow does not write."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    h, w = rows.shape[:2]
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for top, left, down, right in passes if interlaced else [(0, 0, 1, 1)]:
        for row in rows[top::down, left::right]:
            if row.size:
                data += b"\0" + row.tobytes()
    head = struct.pack(">IIBBBBB", w, h, bits, color, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def ycck(jpeg):
    """The same file, its Adobe marker saying YCCK."""
    at = jpeg.index(b"Adobe") + 11
    return jpeg[:at] + b"\x02" + jpeg[at + 1:]


wide = np.stack([x * 2800, y * 3400, (x * y) * 150], -1).astype(">u2")
files = {
    **{f"jpeg_{name}": encoded(rgb, "JPEG", quality=80, subsampling=s) for name, s in (("444", 0), ("422", 1), ("420", 2))},
    "jpeg_grey": encoded(rgb.convert("L"), "JPEG"),
    "jpeg_progressive": encoded(rgb, "JPEG", progressive=True),
    "jpeg_cmyk": encoded(rgb.convert("CMYK"), "JPEG"),
    "jpeg_ycck": ycck(encoded(rgb.convert("CMYK"), "JPEG")),
    "png_1": encoded(rgb.convert("1"), "PNG"),
    "png_grey": encoded(rgb.convert("L"), "PNG"),
    "png_grey_alpha": encoded(rgba.convert("LA"), "PNG"),
    "png_palette": encoded(rgb.quantize(13), "PNG"),
    "png_palette_transparent": encoded(rgb.quantize(200), "PNG", transparency=3),
    "png_rgb": encoded(rgb, "PNG"),
    "png_rgb_transparent": encoded(rgb, "PNG", transparency=(0, 0, 0)),
    "png_rgba": encoded(rgba, "PNG"),
    "png_grey_16": png(wide[..., 2], 16, 0),
    "png_rgb_16": png(wide, 16, 2),
    "png_rgb_interlaced": png(np.asarray(rgb), 8, 2, interlaced=True),
    "webp": encoded(rgb, "WEBP", quality=70),
    "webp_lossless": encoded(rgb, "WEBP", lossless=True),
    "webp_alpha": encoded(rgba, "WEBP", lossless=True, exact=True),
}
tensors = {}
for name, data in files.items():
    tensors["in." + name] = np.frombuffer(data, np.uint8)
    tensors["out." + name] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
save_file(tensors, os.path.join(os.path.dirname(os.path.abspath(__file__)), "decode.safetensors"))
