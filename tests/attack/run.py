#!/usr/bin/env python3
"""Attacks a running bridge as hostile clients and surroundings would, and prints a table with the figures and the limits.

    cargo build --release
    tests/attack/run.py [PROGRAM] [--only bodies-ingress,bodies-ops,descriptors,pipelines,log,gateway,store-file,old-copy]

| scenario | attack | must be |
|---|---|---|
| bodies-ingress | 2,000 request bodies that stall on the event listener; closed ones are opened again, 100 per second | at most 128 MiB in a container of 256 MiB, p99 of a healthy sender below 250 ms |
| bodies-ops | the same on the ops listener, without a token | the same, and every probe is answered |
| descriptors | 1,000 idle connections to the event listener and 300 to the ops listener, with 256 descriptors | deliveries, probes and the reading of a new key go on |
| pipelines | 60 clients that pipeline requests and never read, on both listeners | less than 5 % of a core |

Results on 2 virtual cores without other load, profile `dist`, resident memory before the attack 25 MiB:

| scenario | holds | limit | figures |
|---|---|---|---|
| bodies-ingress | yes | memory cgroup v1, 256 MiB | 86 MiB resident at most; 387 events, p99 17 ms; 38 probes, none failed |
| bodies-ops | yes | memory cgroup v1, 256 MiB | 31 MiB in the group; 388 events, p99 4 ms; 38 probes, none failed |
| descriptors | yes | RLIMIT_NOFILE 256, soft and hard | 78 descriptors; delivered with the new key; p99 2 ms; 24 probes, none failed |
| pipelines | yes | none | 0.1 % of a core, 26 MiB |

At a load of 8, the debug program had 97 MiB and a p99 of 125 ms in the first scenario.

The script imposes the memory limit with a memory cgroup (version 1 or 2) if it may create one. Otherwise it only
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crowds import bodies_ingress, bodies_ops, descriptors, pipelines  # noqa: E402
from gateway import gateway  # noqa: E402
from limits import MemoryLimit  # noqa: E402
from silent_log import log  # noqa: E402
from store_file import old_copy, store_file  # noqa: E402
from world import ROOT  # noqa: E402

SCENARIOS = {
    "bodies-ingress": bodies_ingress,
    "bodies-ops": bodies_ops,
    "descriptors": descriptors,
    "pipelines": pipelines,
    "log": log,
    "gateway": gateway,
    "store-file": store_file,
    "old-copy": old_copy,
}


def play(name, program):
    """Plays a scenario in a folder of its own, and removes the folder if the scenario holds."""
    tempfile.tempdir = folder = tempfile.mkdtemp(prefix=f"attack-{name}-")
    try:
        holds, limit, figures = SCENARIOS[name](program)
    except Exception as error:  # The other scenarios go on.
        holds, limit, figures = False, "", f"{type(error).__name__}: {error}"
    tempfile.tempdir = None
    if holds:
        shutil.rmtree(folder)
        return True, limit, figures
    return False, limit, f"{figures}; see {folder}"


def main():
    arguments = argparse.ArgumentParser(description="Attacks a running bridge.")
    arguments.add_argument("program", nargs="?", default=f"{ROOT}/target/release/imprint-bridge")
    arguments.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, separated by commas")
    arguments.add_argument("--without-cgroup", action="store_true", help="impose the memory limit without a memory cgroup")
    options = arguments.parse_args()
    MemoryLimit.cgroups_allowed = not options.without_cgroup
    multiprocessing.set_start_method("fork")
    failed = 0
    print("| scenario | holds | load | limit | figures |\n|---|---|---|---|---|", flush=True)
    for name in options.only.split(","):
        load = os.getloadavg()[0]
        holds, limit, figures = play(name, options.program)
        failed += not holds
        figures = figures.replace("|", "/").replace("\n", " ")
        print(f"| {name} | {'yes' if holds else 'NO'} | {load:.1f} | {limit} | {figures} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
