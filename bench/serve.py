#!/usr/bin/env python3
"""Load on `beit serve` from 64 connections on the same cores: valid images, broken ones and bodies that are too large.
Every answer is checked, valid ones against `beit tokenize`. The standard library alone.

    python3 bench/serve.py --program build/release/beit --tokenizer RUN --data IMAGES [--seconds 60] [--clients 64]

Prints latencies, images a second beside those of `beit tokenize`, and how memory grows.
"""

import argparse
import http.client
import json
import multiprocessing
import pathlib
import random
import re
import selectors
import socket
import statistics
import struct
import subprocess
import tempfile
import time

ENDINGS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif",
           ".bmp": "image/bmp"}


def read_codes(path):
    """The codes of each image by its path, of a file of `beit tokenize`."""
    raw = pathlib.Path(path).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    begin, end = header["codes"]["data_offsets"]
    images, patches = header["codes"]["shape"]
    values = struct.unpack(f"<{images * patches}i", raw[8 + length + begin:8 + length + end])
    paths = json.loads(header["__metadata__"]["paths"])
    return {name: list(values[i * patches:(i + 1) * patches]) for i, name in enumerate(paths)}


def tokenize(options, folder):
    """Codes, and images a second of the whole command less its start."""
    output = folder / "codes.safetensors"
    words = [options.program, "tokenize", "--tokenizer", options.tokenizer, "--data", options.data, "--output",
             str(output), "--workers", str(multiprocessing.cpu_count())]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return read_codes(output), float(re.search(r"([0-9.]+) images/s", text)[1])


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for_health(port, server):
    while server.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("serve.py: expected a server, got its end")


def check(wanted, status, text, codes):
    """What is wrong with an answer; empty where nothing is."""
    if status != wanted:
        return f"expected {wanted}, got {status}: {text[:200]!r}"
    answer = json.loads(text)
    if status != 200:
        return "" if answer["error"]["code"] and answer["error"]["message"] else f"an error without words: {text!r}"
    rows = answer["images"][0]["codes"]
    return "" if [code for row in rows for code in row] == codes else "other codes than those of `beit tokenize`"


class Connection:
    """One connection, which asks again as soon as it is answered."""

    def __init__(self, port):
        self.port, self.socket, self.text = port, None, b""

    def ask(self, kind, path, request, wanted):
        self.kind, self.path, self.wanted, self.start = kind, path, wanted, time.perf_counter()
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.socket.sendall(request)

    def answer(self):
        """What came: (status, body) once it is whole."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionError("the server ended the connection")
        self.text += part
        head = self.text.find(b"\r\n\r\n")
        if head < 0:
            return None
        length = int(re.search(rb"\r\ncontent-length: *(\d+)", self.text[:head].lower())[1])
        if len(self.text) < head + 4 + length:
            return None
        whole, self.text = (int(self.text[9:12]), self.text[head + 4:]), b""
        return whole

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket, self.text = None, b""


def request_of(body, media):
    return (f"POST /v1/tokens HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def clients(number, count, port, images, codes, shares, most_bytes, end, results):
    """So many connections, until the end: (seconds, kind) of each answer, and what was wrong. As little of the cores as
    can be, as the server runs on them, too."""
    draw = random.Random(number)
    requests = {}
    for path in images:
        body, media = pathlib.Path(path).read_bytes(), ENDINGS[pathlib.Path(path).suffix.lower()]
        requests[path] = {"valid": request_of(body, media), "broken": request_of(body[:len(body) // 2], media)}
    oversized = request_of(bytes(most_bytes + 1), "image/jpeg")
    wanted = {"valid": 200, "broken": 422, "oversized": 413}
    times, wrong = [], []
    selector = selectors.DefaultSelector()

    def begin(connection):
        kind, path = draw.choices(list(wanted), shares)[0], draw.choice(images)
        had = connection.socket
        try:
            connection.ask(kind, path, oversized if kind == "oversized" else requests[path][kind], wanted[kind])
        except OSError as error:
            done(connection, f"{kind}: {error!r}")
            return
        if connection.socket is not had:
            selector.register(connection.socket, selectors.EVENT_READ, connection)

    def done(connection, problem):
        times.append((time.perf_counter() - connection.start, connection.kind))
        # A server may end the connection while a body that is too large is still sent.
        if problem and connection.kind != "oversized":
            wrong.append(f"{connection.path}: {problem}")
        if problem or connection.kind == "oversized":
            if connection.socket is not None and connection.socket in selector.get_map():
                selector.unregister(connection.socket)
            connection.close()
        waiting.append(connection)

    waiting = [Connection(port) for _ in range(count)]
    while time.time() < end:
        while waiting:
            begin(waiting.pop())
        for key, _ in selector.select(timeout=1):
            connection = key.data
            try:
                answer = connection.answer()
                if answer is not None:
                    done(connection, check(connection.wanted, *answer, codes[connection.path]))
            except OSError as error:
                done(connection, f"{connection.kind}: {error!r}")
    results.put((times, wrong))


def resident_mib(process):
    text = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def slope(points):
    """MiB an hour of the straight line through (seconds, MiB)."""
    times, sizes = zip(*points)
    return 3600 * statistics.linear_regression(times, sizes).slope


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def load(options, server, port, codes):
    images = [path for path in codes if pathlib.Path(path).is_file()]
    if not images:
        raise SystemExit("serve.py: expected a folder of images, got none that are files of their own")
    shares = (100 - options.broken - options.oversized, options.broken, options.oversized)
    results = multiprocessing.Queue()
    end = time.time() + options.seconds
    processes = min(multiprocessing.cpu_count(), options.clients)
    shares_of = [options.clients // processes + (i < options.clients % processes) for i in range(processes)]
    askers = [multiprocessing.Process(target=clients, args=(i, count, port, images, codes, shares,
                                                            options.max_body_mib << 20, end, results))
              for i, count in enumerate(shares_of)]
    for one in askers:
        one.start()
    memory = []
    while time.time() < end:
        memory.append((time.time(), resident_mib(server.pid)))
        time.sleep(min(1, options.seconds / 20))
    found = [results.get() for _ in askers]
    for one in askers:
        one.join()
    return [time_ for times, _ in found for time_ in times], [problem for _, some in found for problem in some], memory


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--program", default="build/release/beit")
    words.add_argument("--tokenizer", required=True)
    words.add_argument("--data", required=True, help="a folder of images")
    words.add_argument("--seconds", type=float, default=60)
    words.add_argument("--clients", type=int, default=64)
    words.add_argument("--broken", type=float, default=5, help="percent")
    words.add_argument("--oversized", type=float, default=1, help="percent")
    words.add_argument("--max-body-mib", type=int, default=8)
    options = words.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        codes, alone = tokenize(options, pathlib.Path(folder))
    port = free_port()
    server = subprocess.Popen([options.program, "serve", "--weights", options.tokenizer, "--port", str(port),
                               "--max-body-mib", str(options.max_body_mib), "--max-batch", "64", "--quiet"])
    try:
        wait_for_health(port, server)
        times, wrong, memory = load(options, server, port, codes)
    finally:
        server.terminate()
        code = server.wait(60)
    valid = [seconds for seconds, kind in times if kind == "valid"]
    rate = len(valid) / options.seconds
    half = memory[len(memory) // 2:]
    print(f"{len(times)} answers, {len(valid)} of valid images; {len(wrong)} wrong")
    print(f"latency of valid ones: p50 {1000 * quantile(valid, .5):.0f} ms, p99 {1000 * quantile(valid, .99):.0f} ms")
    print(f"{rate:.1f} images/s, {100 * rate / alone:.0f}% of the {alone:.1f} of `beit tokenize`")
    print(f"memory {half[-1][1]:.0f} MiB, {slope(half):+.0f} MiB an hour over the second half")
    for problem in wrong[:10]:
        print(f"  {problem}")
    if wrong or code != 0:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
