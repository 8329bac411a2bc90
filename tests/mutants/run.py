#!/usr/bin/env python3
"""Mutation tests of the pure rooms: check that a test fails for each changed operator, limit or constant.

    tests/mutants/run.py                 run what has changed, then report; fails below the required rate
    tests/mutants/run.py --shard 1/2     one half of the files; the other half runs as 2/2, at the same time if wished
    tests/mutants/run.py --file PATH     only this file (repeatable)
    tests/mutants/run.py --survivors     run only the mutants again that survived, after tests were added and none removed
    tests/mutants/run.py --report        only report

cargo-mutants changes one expression at a time, and the unit tests of the same room must then fail. Only unit tests run
(`cargo test --lib ROOM::`), so that the tests beside a pure function prove the function and a mutant costs seconds.

tests/mutants/results.json keeps the results, one record per file with a hash of the file and of its room's test files.
A file whose hash is unchanged is not run again, and an interrupted run continues where it stopped. A mutant that no test
can catch is listed with its reason in tests/mutants/survivors.toml; an unlisted survivor fails the run.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests/mutants/results.json"
SURVIVORS = ROOT / "tests/mutants/survivors.toml"
WORK = ROOT / "target/mutants"
VERSION = "27.1.0"

# The share of viable mutants that the unit tests must catch.
REQUIRED = 0.97
# The time limit in seconds for the tests of one mutant. A mutant that exceeds the limit counts as caught.
TIMEOUT = 30

# The pure rooms, each with the filter of its unit tests.
ROOMS = {
    "src/fold.rs": "fold::",
    "src/fold/*.rs": "fold::",
    "src/backoff.rs": "backoff::",
    "src/dispatch/core.rs": "dispatch::",
    "src/dispatch/core/*.rs": "dispatch::",
    "src/dispatch/destination.rs": "dispatch::",
    "src/dispatch/destination/*.rs": "dispatch::",
    "src/dispatch/breaker.rs": "dispatch::",
    "src/dispatch/pace.rs": "dispatch::",
    "src/dispatch/policy.rs": "dispatch::",
    "src/dispatch/settlement.rs": "dispatch::",
    "src/http/retry_after.rs": "http::",
    "src/imprint/classify.rs": "imprint::",
    "src/imprint/echo.rs": "imprint::",
    "src/imprint/lookup.rs": "imprint::",
    "src/ingress/auth/hmac/template.rs": "ingress::",
    "src/mapping/comparison.rs": "mapping::",
    "src/mapping/function/*.rs": "mapping::",
    "src/mapping/jq/value/*.rs": "mapping::",
    "src/mapping/split.rs": "mapping::",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shard", default="1/1", help="K/N: this run's share of the files")
    parser.add_argument("--file", action="append", default=[], help="only this file")
    parser.add_argument("--survivors", action="store_true", help="only the mutants that survived before")
    parser.add_argument("--report", action="store_true", help="run nothing, only report")
    arguments = parser.parse_args()
    files = dict(pure_files())
    if not arguments.report:
        run(pending(files, arguments), files, arguments.shard.replace("/", "-of-"), arguments.survivors)
    sys.exit(report(files))


def pure_files():
    for pattern, room in ROOMS.items():
        for path in sorted(ROOT.glob(pattern)):
            if path.name != "tests.rs":
                yield str(path.relative_to(ROOT)), room


def source_hash(path):
    """Returns a hash of a file without the unit tests at its end."""
    source = (ROOT / path).read_text().split("\n#[cfg(test)]\nmod tests {")[0]
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def content_hash(path, room):
    """Returns a hash of a file and of the separate test files of its room, because all of them decide the result."""
    folder = ROOT / "src" / room.split("::")[0]
    tests = [test for test in sorted(folder.rglob("*.rs")) if test.name == "tests.rs" or "tests" in test.parts]
    digest = hashlib.sha256()
    for part in [ROOT / path, *tests]:
        digest.update(part.read_bytes())
    return digest.hexdigest()[:16]


def load():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def pending(files, arguments):
    share, shares = map(int, arguments.shard.split("/"))
    results = load()
    changed = [
        path
        for path, room in files.items()
        if results.get(path, {}).get("hash") != content_hash(path, room)
    ]
    if arguments.file:
        changed = [path for path in changed if path in arguments.file]
    if arguments.survivors:
        unchanged = lambda path: results.get(path, {}).get("source") == source_hash(path)
        changed = [path for path in changed if unchanged(path)]
    # Every share gets files in turn, large files first, so that all shares take about the same time.
    changed.sort(key=lambda path: -(ROOT / path).stat().st_size)
    return changed[share - 1 :: shares]


def run(paths, files, name, survivors):
    if not paths:
        return
    require_cargo_mutants()
    tree = WORK / f"tree-{name}"
    copy_tree(tree)
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(WORK / f"target-{name}"),
        "CARGO_PROFILE_DEV_DEBUG": "0",
        "CARGO_INCREMENTAL": "1",
        "CARGO_TERM_COLOR": "never",
    }
    for room in sorted({files[path] for path in paths}):
        command = ["cargo", "test", "--quiet", "--locked", "--lib", room]
        subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    results = load()
    for path in paths:
        again = results[path]["missed"] if survivors else None
        # A file without survivors needs no run: added tests catch at least the same mutants.
        result = mutate(path, files[path], tree, environment, name, again) if again != [] else results[path]
        if survivors and again:
            result["caught"] = results[path]["caught"] + len(again) - len(result["missed"])
            result["unviable"] = results[path]["unviable"]
        store(path, content_hash(path, files[path]), result)


def copy_tree(tree):
    """Copies the package for the mutants, because cargo-mutants writes each mutant into the source file."""
    tree.mkdir(parents=True, exist_ok=True)
    for folder in ("src", "schemas", "config", "tests", ".cargo"):
        if (tree / folder).exists():
            shutil.rmtree(tree / folder)
        # With new times of modification: cargo would take an interrupted run's mutant for the source of this run.
        shutil.copytree(ROOT / folder, tree / folder, copy_function=shutil.copy)
    for file in ("Cargo.toml", "Cargo.lock", ".clippy.toml"):
        shutil.copy(ROOT / file, tree / file)


def mutate(path, room, tree, environment, name, only=None):
    output = WORK / f"output-{name}"
    shutil.rmtree(output, ignore_errors=True)
    command = ["cargo", "mutants", "--in-place", "--baseline=skip", "--no-shuffle", "--colors=never"]
    command += ["--timeout", str(TIMEOUT), "--output", str(output), "--file", path]
    # Also for the build: without --lib, cargo would build every test binary for each mutant.
    command += ["--cargo-arg=--locked", "--cargo-arg=--lib"]
    command += [f"--re={placed(mutant)}" for mutant in only or []]
    command += ["--", room]
    finished = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # Exit code 0 means all mutants caught, 2 some missed, 3 some timed out. Any other exit code is a failure of the
    # tool.
    if finished.returncode not in (0, 2, 3):
        sys.exit(f"cargo mutants failed on {path} ({finished.returncode}):\n{finished.stdout.decode()}")
    lists = {}
    for kind in ("caught", "missed", "timeout", "unviable"):
        file = output / "mutants.out" / f"{kind}.txt"
        lists[kind] = file.read_text().splitlines() if file.exists() else []
    return {
        "caught": len(lists["caught"]) + len(lists["timeout"]),
        "unviable": len(lists["unviable"]),
        "missed": [nameless(mutant) for mutant in lists["missed"]],
    }


def nameless(mutant):
    """Removes line and column from `src/a.rs:12:5: replace …`, because edits above the mutant change the line."""
    return re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", mutant)


def placed(mutant):
    """Returns the regular expression that matches a mutant at any line and column."""
    file, change = mutant.split(": ", 1)
    return f"^{re.escape(file)}:[0-9]+:[0-9]+: {re.escape(change)}$"


def store(path, digest, result):
    # A lock protects the results, because two shares may run at the same time.
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / "results.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results = load()
        results[path] = {**result, "hash": digest, "source": source_hash(path)}
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    print(f"    {path}: {result['caught']} caught, {len(result['missed'])} missed", flush=True)


def report(files):
    results = load()
    survivors = tomllib.loads(SURVIVORS.read_text()) if SURVIVORS.exists() else {}
    caught = missed = 0
    faults = []
    for path, room in files.items():
        result = results.get(path)
        if result is None or result["hash"] != content_hash(path, room):
            faults.append(f"{path}: not run since it changed")
            continue
        caught += result["caught"]
        missed += len(result["missed"])
        faults += [f"{mutant}: survives without a reason" for mutant in result["missed"] if mutant not in survivors]
    viable = caught + missed
    rate = caught / viable if viable else 0.0
    print(f"    {caught} of {viable} viable mutants caught ({rate:.1%})")
    if rate < REQUIRED:
        faults.append(f"{rate:.1%} caught, {REQUIRED:.0%} required")
    for fault in faults:
        print(f"    {fault}")
    return 1 if faults else 0


def require_cargo_mutants():
    if shutil.which("cargo-mutants"):
        return
    print(f"    installing cargo-mutants {VERSION}", flush=True)
    subprocess.run(["cargo", "install", "--quiet", "--locked", "cargo-mutants", "--version", VERSION], check=True)


if __name__ == "__main__":
    main()
