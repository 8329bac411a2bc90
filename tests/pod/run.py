#!/usr/bin/env python3
"""Runs the demo and the kill tests of the bridge with the limits of a pod, which tests/pod/enter imposes.

    cargo build --features failpoints
    tests/pod/run.py target/debug/deps/it-...

The argument is the program of the integration tests; tests/run passes it. The script needs Linux, root, and the programs
unshare, setpriv and mount. It fails, and does not skip, if one of them is missing, or if a limit has no effect.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENTER = ROOT / "tests/pod/enter"
MEMORY_MIB = 256
# The demo and the kill tests take about a minute together.
SECONDS_MAX = 600
# A folder in which every user may create files outside of the pod.
SHARED = "/var/tmp"


class Failed(Exception):
    pass


def enter(folder, *command, **environment):
    """Runs a command with the limits of a pod, in which only the folder is writable."""
    variables = {"PATH": os.environ["PATH"], "TMPDIR": str(folder), "POD_WRITABLE": str(folder), **environment}
    return subprocess.run([ENTER, *map(str, command)], env=variables, capture_output=True, text=True, timeout=SECONDS_MAX)


def groups():
    """Returns the memory groups that tests/pod/enter has created and whose processes have ended."""
    places = [*Path("/sys/fs/cgroup").glob("imprint-pod-*")]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers == "memory":
            places += Path(f"/sys/fs/cgroup/memory{own}").glob("imprint-pod-*")
    return [place for place in places if not (place / "cgroup.procs").read_text()]


def end_groups():
    """Removes the memory groups. Returns the number of groups, and the highest memory usage in MiB."""
    peak, ended = 0, groups()
    for group in ended:
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            if (group / name).exists():
                peak = max(peak, int((group / name).read_text()) >> 20)
        group.rmdir()
    return len(ended), peak


def check_limits(folder, program):
    """Checks that the limits have an effect: otherwise the other results prove nothing."""
    readable = enter(folder, program, "--version")
    if readable.returncode != 0:
        raise Failed(f"the program {program} does not run with the limits of a pod: {readable.stderr.strip()}")
    probe = f"{SHARED}/imprint-pod-{os.getpid()}"
    written = enter(folder, "touch", probe)
    if written.returncode == 0 or "Read-only file system" not in written.stderr:
        raise Failed(f"the pod can write {probe}: {written.stderr.strip()}")
    if enter(folder, "touch", folder / "probe").returncode != 0:
        raise Failed("the pod cannot write into its own folder")
    filled = enter(folder, sys.executable, "-c", f"bytearray(b'x' * ({MEMORY_MIB + 64} << 20))")
    if filled.returncode == 0:
        raise Failed(f"the pod can use more than {MEMORY_MIB} MiB of memory")
    end_groups()


def demo(folder, program):
    result = enter(folder, program, "demo", "--json")
    if result.returncode != 0:
        raise Failed(f"the demo failed with {result.returncode}: {result.stdout}{result.stderr}")
    json.loads(result.stdout)
    _, peak = end_groups()
    print(f"demo: no error; at most {peak} MiB of memory")


def kill_tests(tests):
    variables = {**os.environ, "IMPRINT_BRIDGE_TEST_LAUNCHER": str(ENTER)}
    command = [tests, "kill::", "--nocapture"]
    result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=SECONDS_MAX, cwd=ROOT)
    if result.returncode != 0:
        raise Failed(f"the kill tests failed:\n{result.stdout}{result.stderr}")
    count, peak = end_groups()
    if count == 0:
        raise Failed("the kill tests started no process with the limits of a pod")
    summary = next(line for line in result.stdout.splitlines() if line.startswith("test result:"))
    print(f"kill tests: {summary.removeprefix('test result: ')}")
    print(f"{count} processes with the limits of a pod; each used at most {peak} MiB of memory")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tests = Path(sys.argv[1]).resolve()
    program = tests.parent.parent / "imprint-bridge"
    try:
        with tempfile.TemporaryDirectory(prefix="imprint-pod-") as folder:
            check_limits(Path(folder), program)
            demo(Path(folder), program)
        kill_tests(tests)
    except Failed as failure:
        end_groups()
        sys.exit(str(failure))


main()
