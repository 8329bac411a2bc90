#!/usr/bin/env python3
"""Mutation tests of the pure rooms: check that a test fails for each changed operator, limit or constant.

    tests/mutants/run.py                 run what has changed, then report; fails below the required rate
    tests/mutants/run.py --file PATH     only this file (repeatable)
    tests/mutants/run.py --survivors     of an unchanged file, run only the mutants that survived: after tests were added and
                                         none removed
    tests/mutants/run.py --report        only report

cargo-mutants lists the mutants: each changes one expression. Only the unit tests of the same room run (filter ROOM::), so
that the tests beside a pure function prove the function. switches.py writes all mutants into one copy of the crate, so
that one build serves all of them. A mutant that does not compile there for a reason of the switches (a `const fn`, a
return type `impl Trait`) is built alone.

tests/mutants/results.json keeps the results, one record per file with a hash of the file and of its room's test files.
A file whose hash is unchanged is not run again, and an interrupted run continues with the first file without a result. A
mutant that no test can catch is listed with its reason in tests/mutants/survivors.toml; an unlisted survivor fails the
run.
"""

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import switches

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests/mutants/results.json"
SURVIVORS = ROOT / "tests/mutants/survivors.toml"
WORK = ROOT / "target/mutants"
TREE = WORK / "tree"
VERSION = "27.1.0"

# The share of viable mutants that the unit tests must catch.
REQUIRED = 0.97
# The limits for the tests of one mutant: seconds of CPU time, seconds, and bytes. A mutant that exceeds a limit counts as
# caught. CPU time shows an endless loop also on a busy machine; the other time limit is for tests that wait for ever.
CPU_TIME = 30
TIME = 300
MEMORY = 4 << 30
# The same generated inputs in each run, so that the figure can be repeated. A failed test need not search a small input.
PROPTEST = {
    "PROPTEST_RNG_SEED": "1",
    "PROPTEST_MAX_SHRINK_ITERS": "0",
    "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "true",
}
# The errors with which the compiler refuses a mutant because its types or names do not fit.
UNVIABLE = {"E0061", "E0277", "E0282", "E0283", "E0308", "E0369", "E0412", "E0425", "E0433", "E0599", "E0600", "E0614"}

# The pure rooms, each with the filter of its unit tests.
ROOMS = {
    "src/fold.rs": "fold::",
    "src/fold/*.rs": "fold::",
    "src/backoff.rs": "backoff::",
    "src/dispatch/backoff.rs": "dispatch::",
    "src/dispatch/breaker.rs": "dispatch::",
    "src/dispatch/breaker/*.rs": "dispatch::",
    "src/dispatch/core.rs": "dispatch::",
    "src/dispatch/core/*.rs": "dispatch::",
    "src/dispatch/destination.rs": "dispatch::",
    "src/dispatch/destination/**/*.rs": "dispatch::",
    "src/dispatch/evidence.rs": "dispatch::",
    "src/dispatch/evidence/*.rs": "dispatch::",
    "src/dispatch/lane_exchange.rs": "dispatch::",
    "src/dispatch/lane_exchange/**/*.rs": "dispatch::",
    "src/dispatch/moment.rs": "dispatch::",
    "src/dispatch/pace.rs": "dispatch::",
    "src/dispatch/policy.rs": "dispatch::",
    "src/dispatch/settlement.rs": "dispatch::",
    "src/dispatch/settlement/*.rs": "dispatch::",
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
    parser.add_argument("--file", action="append", default=[], help="only this file")
    parser.add_argument("--survivors", action="store_true", help="of an unchanged file, only the mutants that survived before")
    parser.add_argument("--report", action="store_true", help="run nothing, only report")
    arguments = parser.parse_args()
    files = dict(pure_files())
    if not arguments.report:
        run(pending(files, arguments), files, arguments.survivors)
    sys.exit(report(files))


def pure_files():
    for pattern, room in ROOMS.items():
        paths = [path for path in sorted(ROOT.glob(pattern)) if path.name != "tests.rs"]
        if not paths:
            sys.exit(f"no file {pattern}: correct ROOMS")
        for path in paths:
            yield str(path.relative_to(ROOT)), room


def code(path):
    """Returns the lines of a file without comments."""
    lines = path.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.lstrip().startswith("//"))


def source_hash(path):
    """Returns a hash of a file without the unit tests at its end."""
    source = code(ROOT / path).split("\n#[cfg(test)]\nmod tests {")[0]
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def content_hash(path, room):
    """Returns a hash of a file and of the separate test files of its room, because all of them decide the result."""
    folder = ROOT / "src" / room.split("::")[0]
    tests = [test for test in sorted(folder.rglob("*.rs")) if test.name == "tests.rs" or "tests" in test.parts]
    digest = hashlib.sha256()
    for part in [ROOT / path, *tests]:
        digest.update(code(part).encode())
    return digest.hexdigest()[:16]


def load():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def pending(files, arguments):
    results = load()
    changed = [path for path, room in files.items() if results.get(path, {}).get("hash") != content_hash(path, room)]
    if arguments.file:
        changed = [path for path in changed if path in arguments.file]
    return changed


def run(paths, files, survivors):
    if not paths:
        return
    require_cargo_mutants()
    # The hashes of the copied files: somebody may edit the originals during the run.
    hashes = {path: {"hash": content_hash(path, files[path]), "source": source_hash(path)} for path in paths}
    copy_tree()
    results = load()
    mutants = listed(paths)
    # Added tests catch at least the mutants that the tests caught before.
    is_unchanged = lambda path: survivors and results.get(path, {}).get("source") == hashes[path]["source"]
    mutants = [m for m in mutants if not is_unchanged(m.file) or m.name in results[m.file]["missed"]]
    sources = {path: (TREE / path).read_bytes() for path in paths}
    unviable, alone = build_with_switches(mutants, sources)
    for room in sorted({files[path] for path in paths}):
        if fails(None, room):
            sys.exit(f"the unit tests {room} fail without a mutant")
    # Last the files with mutants that need a build of their own, because a build takes longer than many test runs.
    for path in sorted(paths, key=lambda path: any(mutant.file == path for mutant in alone)):
        here = [mutant for mutant in mutants if mutant.file == path]
        switched = [mutant for mutant in here if mutant not in unviable and mutant not in alone]
        missed = [mutant for mutant in switched if not is_caught(mutant, files[path])]
        refused = [mutant for mutant in here if mutant in unviable]
        for mutant in [mutant for mutant in here if mutant in alone]:
            verdict = build_alone(mutant, sources[path], files[path])
            missed += [mutant] if verdict == "missed" else []
            refused += [mutant] if verdict == "unviable" else []
        result = {
            "caught": len(here) - len(missed) - len(refused),
            "unviable": len(refused),
            "missed": sorted(mutant.name for mutant in missed),
        }
        if is_unchanged(path):
            result["caught"] += results[path]["caught"]
            result["unviable"] = results[path]["unviable"]
        store(path, result | hashes[path])


def copy_tree():
    """Copies the package, because the mutants are written into the source files."""
    TREE.mkdir(parents=True, exist_ok=True)
    for folder in ("src", "schemas", "config", "tests", ".cargo"):
        if (TREE / folder).exists():
            shutil.rmtree(TREE / folder)
        # With new times of modification: cargo would take an interrupted run's mutant for the source of this run.
        shutil.copytree(ROOT / folder, TREE / folder, copy_function=shutil.copy)
    for file in ("Cargo.toml", "Cargo.lock", ".clippy.toml"):
        shutil.copy(ROOT / file, TREE / file)
    with open(TREE / "src/lib.rs", "a") as root:
        root.write(switches.MODULE)


def listed(paths):
    """Returns the mutants of the files, as cargo-mutants lists them."""
    command = ["cargo", "mutants", "--list", "--json", *(f"--file={path}" for path in paths)]
    found = subprocess.run(command, cwd=TREE, check=True, stdout=subprocess.PIPE).stdout
    mutants, names = [], {}
    for mutant in json.loads(found):
        lines = (TREE / mutant["file"]).read_text().splitlines(keepends=True)
        # Without line and column, because edits above the mutant change them. The second mutant of a name gets " (2)".
        name = re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", mutant["name"])
        names[name] = names.get(name, 0) + 1
        mutants.append(
            switches.Mutant(
                file=mutant["file"],
                name=name if names[name] == 1 else f"{name} ({names[name]})",
                genre=mutant["genre"],
                start=offset(lines, mutant["span"]["start"]),
                end=offset(lines, mutant["span"]["end"]),
                replacement=mutant["replacement"].encode(),
                return_type=(mutant["function"] or {}).get("return_type", ""),
            )
        )
    return mutants


def offset(lines, place):
    """Returns the position in bytes of a place that cargo-mutants gives as line and column."""
    before = "".join(lines[: place["line"] - 1])
    return len((before + lines[place["line"] - 1][: place["column"] - 1]).encode())


def build_with_switches(mutants, sources):
    """Builds the tests with all mutants and returns two lists of mutants for which this is impossible: those that do not
    compile at all, and those that need a build of their own."""
    unviable, alone = [], []
    while True:
        regions, number = {}, 0
        for path, source in sources.items():
            left = [m for m in mutants if m.file == path and m not in unviable and m not in alone]
            places, without, refused = switches.sites(source, left)
            alone += without
            unviable += refused
            # The mutants of one site get adjacent numbers.
            for mutant in (mutant for site in places for mutant in site.mutants):
                number += 1
                mutant.number = number
            text, regions[path] = switches.with_switches(source, places)
            (TREE / path).write_bytes(text)
        errors = build()
        if not errors:
            return unviable, alone
        for error in errors:
            blamed, own = culprits(error, regions)
            if code_of(error) == "E0271":
                # An iterator over the wrong items, the last of its site, shows its error at the whole function.
                unviable += [mutant for mutant in blamed[-1:] if mutant not in unviable]
            else:
                found = unviable if own and code_of(error) in UNVIABLE else alone
                found += [mutant for mutant in blamed if mutant not in unviable + alone]
        print(f"    {len(unviable)} mutants do not compile, {len(alone)} are built alone", flush=True)


def culprits(error, regions):
    """Returns the mutants that an error of the compiler blames, and whether the error is in the code of one mutant."""
    for own in (True, False):
        for primary in (True, False):
            for span in error["spans"]:
                if span["is_primary"] != primary:
                    continue
                for region in regions.get(span["file_name"], []):
                    if region.own == own and region.start <= span["byte_start"] < region.end:
                        return region.mutants, own
    sys.exit(f"the crate with switches does not compile:\n{error['rendered']}")


def code_of(error):
    return (error["code"] or {}).get("code")


def build():
    """Builds the unit tests of the tree. Returns the errors of the compiler."""
    # In the target folder of the package, so that the dependencies are not built again.
    environment = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target"), "CARGO_INCREMENTAL": "1"}
    command = ["cargo", "rustc", "--quiet", "--locked", "--lib", "--profile=test", "--message-format=json"]
    command += ["--", "--cap-lints=allow", "-Cdebuginfo=0"]
    finished = subprocess.run(command, cwd=TREE, env=environment, stdout=subprocess.PIPE)
    messages = [json.loads(line) for line in finished.stdout.splitlines()]
    if finished.returncode == 0:
        binaries = [message["executable"] for message in messages if message.get("executable")]
        shutil.copy(binaries[-1], WORK / "unit-tests")
        return []
    errors = [message["message"] for message in messages if message["reason"] == "compiler-message"]
    return [error for error in errors if error["level"] == "error" and error["spans"]]


def build_alone(mutant, source, room):
    """Builds the tests with one mutant in the place of the original code and runs them."""
    switched = (TREE / mutant.file).read_bytes()
    (TREE / mutant.file).write_bytes(source[: mutant.start] + mutant.replacement + source[mutant.end :])
    shutil.copy(WORK / "unit-tests", WORK / "unit-tests-with-switches")
    if build():
        verdict = "unviable"
    else:
        verdict = "caught" if fails(None, room) else "missed"
    shutil.move(WORK / "unit-tests-with-switches", WORK / "unit-tests")
    (TREE / mutant.file).write_bytes(switched)
    return verdict


def is_caught(mutant, room):
    """Runs the unit tests of a room with a mutant, and returns whether one of them fails."""
    # Most mutants fail a test beside the function, so that the other tests of the room need not run.
    module = mutant.file.removeprefix("src/").removesuffix(".rs").split("/")
    nearest_first = ["::".join(module[:length]) + "::" for length in range(len(module), 1, -1)]
    return any(fails(mutant, tests) for tests in [*nearest_first, room])


def fails(mutant, tests):
    environment = os.environ | PROPTEST | {"IMPRINT_BRIDGE_MUTANT": str(mutant.number if mutant else 0)}
    process = subprocess.Popen(
        [str(WORK / "unit-tests"), tests],
        cwd=TREE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=limit,
    )
    timer = threading.Timer(TIME, process.kill)
    timer.start()
    try:
        # The other tests need not run after the first failed test.
        return any(line.endswith("... FAILED\n") for line in process.stdout) or process.wait() != 0
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_TIME, CPU_TIME))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def store(path, result):
    results = load()
    results[path] = result
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
