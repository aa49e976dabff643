#!/usr/bin/env python3
"""report.py BEIT DEMO OUT: makes two small runs and their report, and uses it in a browser as people do, with a
pointer, with keys, and at a phone's width. Screenshots go to OUT."""

import pathlib
import subprocess
import sys
import tempfile

from chromium import Page, find


def make_report(beit, demo, folder):
    network = ["--width", "48", "--depth", "4", "--heads", "3", "--image-size", "32", "--patch-size", "4"]
    short = ["--batch-size", "64", "--steps", "3", "--log-every", "1", "--device", "cpu", "--quiet"]
    images = str(demo / "cifar10-small-test.tar")

    def run(*words):
        subprocess.run([beit, *words], check=True)

    coder, backbone, page = (str(folder / name) for name in ("coder", "backbone", "report.html"))
    run("vqkd", "--data", images, "--teacher", "pixels", "--codes", "8192", "--code-dim", "16", "--decoder-depth", "1",
        "--events-every", "1", "--output", coder, *network, *short)
    run("pretrain", "--data", images, "--tokenizer", coder, "--masked-patches", "26", "--min-mask-block", "5",
        "--output", backbone, *network, *short)
    run("report", coder, backbone, "--output", page, "--images", "2", "--codes", "32", "--measured", "200", "--device",
        "cpu", "--quiet")
    return pathlib.Path(page)


def check(condition, promise):
    if not condition:
        sys.exit(f"report.py: expected: {promise}")


def use(page, width, out):
    """Everything that answers, on a screen of this width."""
    seconds = page.open(page.address)
    check(seconds < 2, f"the page to open in 2 s, got {seconds:.2f} s")
    check(page.value("document.documentElement.scrollWidth <= innerWidth"),
          f"no scrolling sideways at {width} pixels, got {page.value('document.documentElement.scrollWidth')}")
    check(page.value("document.querySelectorAll('h1').length === 1 && !!document.querySelector('main')"), "landmarks")
    check(page.value("[...document.images].every((image) => image.hasAttribute('alt'))"), "a text for each picture")

    # The first Tab is the way past the links.
    page.press("Tab")
    check(page.value("document.activeElement.className") == "skip", "the way to the content to come first")

    # Codes: what is searched is said, and the table has all of them.
    page.value("document.querySelector('.atlas').scrollIntoView()")
    page.wait_for("!document.querySelector('.atlas .uses').hidden")
    page.value("document.querySelector('.atlas .uses').open = true")
    page.wait_for("document.querySelectorAll('.atlas tbody tr').length === 100")
    page.value("(() => { const box = document.querySelector('.atlas input'); box.value = '8191';"
               " box.dispatchEvent(new Event('input')); })()")
    check(page.value("document.querySelectorAll('.atlas tbody tr').length") == 1, "one code 8191 in the table")
    check("code 8191 is used" in page.value("document.querySelector('.atlas .said').textContent"), "words on code 8191")

    # Attention: keys move over the patches, Enter asks one of them.
    page.value("document.querySelector('.attention').scrollIntoView()")
    page.wait_for("!document.querySelector('.attention .stage').hidden")
    said = "document.querySelector('.attention .said').textContent"
    check(page.value(said).startswith("CLS looks at"), "CLS to be asked first")
    page.value("document.querySelector('.attention .map').focus()")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.press(key)
    check(page.value(said).startswith("the patch in row 2, column 3 looks at"), "the patch that keys have chosen")
    for select, choice in (("Layer", "0"), ("Head", "2")):
        page.value(f"(() => {{ const label = [...document.querySelectorAll('.attention label')].find((one) =>"
                   f" one.textContent.startsWith('{select}')); const select = label.querySelector('select');"
                   f" select.value = '{choice}'; select.dispatchEvent(new Event('change')); }})()")
    drawn = ("(() => { const canvas = document.querySelector('.attention canvas'); return canvas.getContext('2d')"
             ".getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0); })()")
    check(page.value(drawn), "the attention to be drawn")

    # Masks: the pointed-at patch is told.
    page.value("document.querySelector('.masks').scrollIntoView()")
    page.wait_for("!document.querySelector('.masks .stage').hidden")
    page.value("document.querySelector('.masks .map').focus()")
    page.press("End")
    check("row 1, column 8" in page.value("document.querySelector('.masks .said').textContent"), "the row's last patch")

    check(page.value("document.documentElement.scrollWidth <= innerWidth"),
          f"no scrolling sideways at {width} pixels, used")
    page.screenshot(str(out / f"report-{width}.png"))
    check(not page.problems, f"nothing wrong on the console, got {page.problems}")
    return seconds


def main():
    beit, demo, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    find()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report = make_report(beit, demo, pathlib.Path(folder))
        check(report.stat().st_size < 10_000_000, "a page below 10 MB")
        for width, height, scheme in ((1280, 900, "light"), (360, 740, "dark")):
            with Page(width, height, scheme) as page:
                page.address = report.as_uri()
                seconds = use(page, width, out)
                print(f"{width} pixels: opened in {seconds:.2f} s, {report.stat().st_size / 1e6:.1f} MB")


main()
