#!/usr/bin/env python3
"""serve_page.py BEIT DEMO OUT: serves a small tokenizer and uses its page in a browser as people do: drops an image,
points at a patch, goes on by keys, and looks at it at a phone's width. Screenshots go to OUT."""

import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from chromium import Page, find

DROP = """(async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 48, height: 40 });
  const pen = canvas.getContext('2d');
  pen.fillStyle = '#c03020'; pen.fillRect(0, 0, 48, 40);
  pen.fillStyle = '#2040c0'; pen.fillRect(12, 8, 20, 20);
  const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
  const photo = async (exif) => {
    const jpeg = await (await new Promise((done) => canvas.toBlob(done, 'image/jpeg'))).arrayBuffer();
    return new Blob([jpeg.slice(0, 2), new Uint8Array(exif), jpeg.slice(2)]);
  };
  const files = new DataTransfer();
  files.items.add(new File([%s], 'dropped.png', { type: 'image/png' }));
  document.getElementById('drop').dispatchEvent(
    new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: files }));
})()"""

# What a camera on its side writes: a quarter turn.
EXIF_TURNED = list(b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")


def check(condition, promise):
    if not condition:
        sys.exit(f"serve_page.py: expected: {promise}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def train(beit, images, folder):
    subprocess.run([beit, "vqkd", "--data", images, "--teacher", "pixels", "--codes", "64", "--code-dim", "16",
                    "--decoder-depth", "1", "--width", "48", "--depth", "2", "--heads", "3", "--image-size", "32",
                    "--patch-size", "4", "--batch-size", "64", "--steps", "3", "--device", "cpu", "--quiet",
                    "--output", str(folder)], check=True)


def wait_for_health(address, server):
    for _ in range(600):
        check(server.poll() is None, "a server that goes on")
        try:
            return urllib.request.urlopen(address + "healthz").read()
        except OSError:
            time.sleep(0.1)
    check(False, "an answer of the server within a minute")


def picture_of_photo(page, exif):
    page.value("document.getElementById('picture').width = 1")
    page.value(DROP % f"await photo({exif})")
    page.wait_for("document.getElementById('picture').width === 1024")
    return page.value("document.getElementById('picture').toDataURL()")


def use(page, address, out):
    page.open(address)
    page.wait_for("document.getElementById('model').textContent.includes('64 codes')")

    page.value(DROP % "blob")
    page.wait_for("document.querySelectorAll('[role=gridcell]').length === 64")
    page.wait_for("document.getElementById('status').textContent.includes('in 64 patches')")

    # A pointer over a patch lights up those of its code, and shows what else has it.
    box = page.value("(() => { const cell = document.querySelector('[data-index=\"9\"]'); cell.scrollIntoView();"
                     " const box = cell.getBoundingClientRect();"
                     " return [box.x + box.width / 2, box.y + box.height / 2, cell.textContent]; })()")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    page.wait_for(f"document.getElementById('code-heading').textContent === 'Code {box[2]}'")
    same = page.value("[...document.querySelectorAll('.same')].map((cell) => cell.textContent)")
    check(same and set(same) == {box[2]}, f"patches of code {box[2]} alone lit up, got {same}")
    page.wait_for("document.getElementById('code-facts').textContent.includes('other images')")

    # Keys: one cell has the focus, arrows move it, and Home and End go to the row's ends.
    page.value("document.querySelector('[role=gridcell][tabindex=\"0\"]').focus()")
    for key, index in (("ArrowRight", 1), ("ArrowDown", 9), ("End", 15), ("Home", 8), ("ArrowUp", 0), ("ArrowLeft", 0)):
        page.press(key)
        check(page.value("document.activeElement.dataset.index") == str(index), f"patch {index} after {key}")
    check(page.value("document.querySelectorAll('[role=gridcell][tabindex=\"0\"]').length") == 1, "one stop for Tab")
    check(page.value("[...document.images].every((image) => image.alt !== '')"), "a text for each picture")
    check(page.value("document.documentElement.scrollWidth <= innerWidth"), "no scrolling sideways")
    page.screenshot(out)

    # The server was not told to turn images, so that the network saw this one as it is stored.
    check(picture_of_photo(page, []) == picture_of_photo(page, EXIF_TURNED), "a picture that is not turned")


def main(beit, demo, out):
    find()
    images = str(pathlib.Path(demo) / "cifar10-small-test.tar")
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        train(beit, images, run)
        address = f"http://127.0.0.1:{(port := free_port())}/"
        server = subprocess.Popen([beit, "serve", "--weights", str(run), "--data", images, "--port", str(port),
                                   "--device", "cpu", "--quiet"])
        try:
            wait_for_health(address, server)
            for width, scheme in ((1280, "light"), (360, "dark")):
                with Page(width, 900, scheme) as page:
                    use(page, address, str(out / f"serve-{width}.png"))
                    check(not page.problems, f"a silent console, got {page.problems}")
                    page.value(DROP % "'no image'")  # the browser notes a refusal in its console, too
                    page.wait_for("document.getElementById('status').classList.contains('failed')")
        finally:
            server.terminate()
            check(server.wait(60) == 0, "an end without error")
    print("the page of `beit serve` works")


if __name__ == "__main__":
    main(*sys.argv[1:])
