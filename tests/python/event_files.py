"""TensorBoard reads what tests/train/events_test.cpp writes: a run that was killed and resumed.

    python tests/python/event_files.py TESTS

TESTS is the program of tests. Everything that the resumed run wrote must be there to the bit, of the killed one only
what it wrote until the step that was resumed.
"""
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from PIL import Image
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def check(tests, folder):
    subprocess.run([tests, "--source-file=*/tests/train/events_test.cpp"], check=True,
                   env={**os.environ, "BEIT_EVENTS": str(folder)})
    expected = load_file(folder / "expected.safetensors")
    files = sorted(path.name for path in (folder / "events").iterdir())
    assert len(files) == 2, files
    events = EventAccumulator(str(folder / "events"), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    events.Reload()

    scalars = events.Scalars("train/loss")
    assert [entry.step for entry in scalars] == list(range(1, 17)), scalars
    values = numpy.array([entry.value for entry in scalars])
    assert (values == expected["loss"].astype(numpy.float32)).all(), (values, expected["loss"])

    (image,) = events.Images("picture")
    assert (image.step, image.height, image.width) == (16, 8, 12), image
    pixels = numpy.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert (pixels == expected["pixels"]).all()

    (entry,) = events.Histograms("values")
    histogram, numbers = entry.histogram_value, expected["values"]
    counts, limits = numpy.histogram(numbers, bins=30)
    assert entry.step == 16
    assert (histogram.min, histogram.max, histogram.num) == (numbers.min(), numbers.max(), numbers.size), histogram
    assert (numpy.array(histogram.bucket) == counts).all(), (histogram.bucket, counts)
    assert numpy.allclose(histogram.bucket_limit, limits[1:], rtol=0, atol=1e-12)
    assert numpy.isclose(histogram.sum, numbers.sum()) and numpy.isclose(histogram.sum_squares, (numbers**2).sum())
    print(f"TensorBoard reads {len(scalars)} scalars, a picture and a histogram of {numbers.size} values")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        check(sys.argv[1], Path(folder))
