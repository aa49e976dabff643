"""Builds the Python module as a wheel: the hooks of PEP 517, which pip calls.

CMake does the work, for the interpreter that runs this and for the torch that is installed beside it. pip hides what
is installed from what it builds, so that torch is looked for by the same interpreter with pip's variables left out;
nothing is fetched. Other installers build in an environment of their own, without torch: there --no-build-isolation is
needed.
"""
import base64
import hashlib
import io
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (2, 11), (2, 13)  # of torch, as cmake/FindTorchWheel.cmake has them


def fail(message):
    raise SystemExit(f"beit: error: {message}")


def version():
    return re.search(r"project\(beit VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())[1]


def require_supported(torch_version):
    """The minor version, as (2, 13)."""
    minor = tuple(int(number) for number in re.match(r"(\d+)\.(\d+)", torch_version).groups())
    if not OLDEST <= minor <= NEWEST:
        fail("torch: expected version {}.{} to {}.{}, got {}; install one of those".format(*OLDEST, *NEWEST,
                                                                                        torch_version))
    return minor


def installed_torch():
    """Its folder, and its minor version."""
    found = subprocess.run([sys.executable, "-E", ROOT / "python/find_torch.py"], capture_output=True, text=True)
    if found.returncode != 0:
        fail(f"torch: expected version {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} in the environment of "
             f"{sys.executable}, found none; install it first, and where it is installed add --no-build-isolation")
    folder, torch_version = found.stdout.strip().rsplit(";", 1)
    return folder, require_supported(torch_version)


def run(*command):
    try:
        done = subprocess.run([str(word) for word in command], stdout=sys.stderr)
    except FileNotFoundError:
        fail(f"{command[0]}: expected this program, found none; scripts/setup.sh packages installs what building needs")
    if done.returncode != 0:
        fail(f"{command[0]}: failed, as it says above; scripts/setup.sh packages installs what building needs")


def tag():
    interpreter = "cp{}{}".format(*sys.version_info[:2])
    return f"{interpreter}-{interpreter}{sys.abiflags}-{re.sub('[-.]', '_', sysconfig.get_platform())}"


def build_module(target, torch, torch_minor):
    """The package into the folder `target`. What was compiled before for the same interpreter and torch is kept."""
    build = ROOT / "build" / "python-{}-torch{}.{}".format(tag(), *torch_minor)
    jobs = subprocess.run([ROOT / "scripts/jobs.sh"], capture_output=True, text=True, check=True).stdout.strip()
    run("cmake", "-S", ROOT, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DBEIT_PYTHON=ON",
        "-DBEIT_TESTS=OFF", f"-DTORCH_DIR={torch}", f"-DPython_EXECUTABLE={sys.executable}", "--log-level=NOTICE")
    run("cmake", "--build", build, "--target", "beit_python", "-j", jobs)
    run("cmake", "--install", build, "--prefix", target, "--component", "python")


def metadata(torch_minor=None):
    lines = ["Metadata-Version: 2.1", "Name: beit", f"Version: {version()}",
             "Summary: BEiT v2: visual tokens, features, classes and segmentations of images", "License: MIT",
             "Requires-Python: >=3.10"]
    if torch_minor:  # what is compiled fits that one alone
        lines.append("Requires-Dist: torch=={}.{}.*".format(*torch_minor))
    return "\n".join(lines) + "\n"


def distribution_files(torch_minor):
    """What a wheel says of itself, by name."""
    return {"METADATA": metadata(torch_minor),
            "WHEEL": f"Wheel-Version: 1.0\nGenerator: beit {version()}\nRoot-Is-Purelib: false\nTag: {tag()}\n"}


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    name = f"beit-{version()}.dist-info"
    folder = Path(metadata_directory) / name
    folder.mkdir()
    for file, text in distribution_files(installed_torch()[1]).items():
        (folder / file).write_text(text)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    torch, torch_minor = installed_torch()
    name = f"beit-{version()}-{tag()}.whl"
    with tempfile.TemporaryDirectory() as folder:
        build_module(folder, torch, torch_minor)
        contents = {path.relative_to(folder).as_posix(): path.read_bytes()
                    for path in sorted(Path(folder).rglob("*")) if path.is_file()}
    info = f"beit-{version()}.dist-info"
    contents |= {f"{info}/{file}": text.encode() for file, text in distribution_files(torch_minor).items()}
    contents[f"{info}/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    record = ""
    for file, data in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{file},sha256={digest},{len(data)}\n"
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file, data in contents.items():
            wheel.writestr(file, data)
    return name


def build_sdist(sdist_directory, config_settings=None):
    """The files that git tracks."""
    name = f"beit-{version()}"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode != 0:
        fail("sdist: expected a clone of the repository, got a folder that git does not know")
    with tarfile.open(Path(sdist_directory) / f"{name}.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for file in filter(None, tracked.stdout.split("\0")):
            archive.add(ROOT / file, f"{name}/{file}")
        text = metadata().encode()
        entry = tarfile.TarInfo(f"{name}/PKG-INFO")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return f"{name}.tar.gz"
