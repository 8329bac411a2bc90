#!/usr/bin/env python3
"""Shows that the build of the image can be repeated: builds the program twice, in two folders, and compares the results.

Each build starts from an export of the same commit, in a folder with another name and without anything built before.
Also shows that the file with the symbols belongs to the program. If the results differ, the script keeps both in target/rebuild.
Takes about 50 minutes on two cores.

usage: tests/supply/rebuild.py [COMMIT]
"""

import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def build(commit, folder):
    """Builds `commit` in `folder`, and returns the folder of the results."""
    folder.mkdir()
    archive = subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x"], cwd=folder, stdin=archive.stdout, check=True)
    if archive.wait() != 0:
        raise SystemExit(f"git has no commit {commit}")
    subprocess.run(["deploy/build.sh", "out"], cwd=folder, check=True)
    shutil.rmtree(folder / "target")
    return folder / "out"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def errors(first, second):
    for name in ("imprint-bridge", "imprint-bridge.debug", "imprint-bridge.cdx.json"):
        print(f"{digest(first / name)}  {digest(second / name)}  {name}")
        if digest(first / name) != digest(second / name):
            yield f"{name}: the two builds differ"
    program = first / "imprint-bridge"
    if ".debug_line" in run("readelf", "--sections", "--wide", program):
        yield "the program contains symbols"
    main = re.search(r"^([0-9a-f]+) \w main$", run("nm", first / "imprint-bridge.debug"), re.MULTILINE)
    if main is None:
        yield "the file of symbols has no function main"
    strings = program.read_bytes() + (first / "imprint-bridge.debug").read_bytes()
    if str(first.parent).encode() in strings:
        yield "the results contain the folder of the build"
    for command in ("sandbox", "demo"):
        if subprocess.run([program, command, "--help"], capture_output=True).returncode == 0:
            yield f"the program has the command {command}"


def main(commit):
    for tool in ("git", "cargo", "objcopy", "readelf", "nm"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not there: install it (Debian: git, binutils; Rust with rustup), then run this again")
    with tempfile.TemporaryDirectory(prefix="rebuild-", dir="/var/tmp") as top:
        first = build(commit, pathlib.Path(top) / "one")
        second = build(commit, pathlib.Path(top) / "another-folder")
        found = list(errors(first, second))
        if found:
            kept = ROOT / "target/rebuild"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(first, kept / "first")
            shutil.copytree(second, kept / "second")
            print(f"both results: {kept}", file=sys.stderr)
    for error in found:
        print(error, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "HEAD"))
