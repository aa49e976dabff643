#!/usr/bin/env python3
"""demo_data.py SOURCE.tar COUNT TARGET.tar: the first COUNT images of each class, in sorted order.

Made the demo's data from the whole of CIFAR-10 (members <split>/<class>/<name>.jpg). The result depends on nothing
but the images: no dates, no owners.
"""

import collections
import io
import sys
import tarfile


def main(source, count, target):
    taken = collections.Counter()
    with tarfile.open(source) as images, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as small:
        for name in sorted(member.name for member in images if member.isfile()):
            category = name.rsplit("/", 2)[1]
            if taken[category] == int(count):
                continue
            taken[category] += 1
            content = images.extractfile(name).read()
            member = tarfile.TarInfo(name.removeprefix("./"))
            member.size = len(content)
            small.addfile(member, io.BytesIO(content))
    if set(taken.values()) != {int(count)}:
        sys.exit(f"{source}: expected at least {count} images a class, got {dict(taken)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
