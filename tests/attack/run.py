#!/usr/bin/env python3
"""Attacks a running bridge as hostile clients and surroundings would, and prints a table with the figures and the limits.

    cargo build --release
    tests/attack/run.py [PROGRAM] [--only bodies-ingress,bodies-ops,descriptors,pipelines,log,gateway,store-file,old-copy]

| scenario | attack | must be |
|---|---|---|
| bodies-ingress | 2,000 request bodies that stall on the event listener; closed ones are opened again, 100 per second | at most 128 MiB with a limit of 256 MiB, p99 of a healthy sender below 250 ms |
| bodies-ops | the same on the ops listener, without a token | the same, and every probe is answered |
| descriptors | 1,000 idle connections to the event listener and 300 to the ops listener, with 256 descriptors; the key becomes wrong and right again | probes go on, and at least 20 deliveries each with the first key and after the repair of the key |
| pipelines | 60 clients that pipeline requests and never read, on both listeners | less than 5 % of a core while all 60 connections stand, at least 10 s; then the bridge closes them |
| log | nobody reads standard error, so its pipe is full; in a second process the reader has ended | deliveries, /livez and /readyz go on, the dropped lines are counted, and the process lives and ends in order |
| gateway | 404 to every request, as HTML and as a JSON route error, for 40 events of 20 customers, at the first start and after deliveries; then repaired | 0 ignored, all 40 delivered within 60 s, with the values of both events |
| store-file | the store file is deleted or replaced by a copy, or its folder renamed, while four senders post; then a rescue as the README says, or a kill | after 1 s no post gets 202, and /readyz 503; after the restart, no accepted event is missing, or the start names the cause |
| old-copy | the store file is replaced by a copy from 30 s ago; then a rescue, a kill or an orderly stop | as store-file |

Results of an optimised program on 2 virtual cores, on which a compiler and other tests ran too. The load is the average of the
minute before the scenario:

| scenario | holds | load | limit | figures |
|---|---|---|---|---|
| bodies-ingress | yes | 3.0 | memory cgroup v1, 256 MiB | 32 MiB resident before, 113 MiB at most, 95 MiB in the group; 368 events, p99 78 ms; 36 probes, none failed |
| bodies-ingress | yes | 3.3 | RLIMIT_DATA 256 MiB, no cgroup | 104 MiB resident at most; 357 events, p99 53 ms; 35 probes, none failed |
| bodies-ops | yes | 3.5 | memory cgroup v1, 256 MiB | 38 MiB resident at most, 35 MiB in the group; 372 events, p99 18 ms; 37 probes, none failed |
| bodies-ops | yes | 3.3 | RLIMIT_DATA 256 MiB, no cgroup | 38 MiB resident at most; 375 events, p99 11 ms; 37 probes, none failed |
| descriptors | yes | 3.5 | RLIMIT_NOFILE 256, soft and hard | 136 descriptors; 180 deliveries with the first key, 20 within 3.0 s after the repair; p99 14 ms; 31 probes, none failed |
| pipelines | yes | 4.0 | none | 0.3 % of a core over 17 s while all 60 stood, 35 MiB; the bridge closed all after 20 s |
| log | yes | 4.1 | none | full pipe: 12,068 lines dropped, 226 events, p99 10 ms; reader ended: 12,279 lines, 189 events, p99 21 ms; no probe failed, exit code 0 |
| gateway | yes | 4.0 | none | 0 of 160 ignored, all delivered; last delivery 2.1 s after the repair |
| store-file | yes | 4.4 | none | no 202 from 1 ms after the damage, /readyz 503 after 18 ms; 6 endings, 8,337 accepted events: none missing, or "is missing, but its log" |
| old-copy | yes | 1.6 | none | debug program: no 202 from 3 ms after the damage, /readyz 503 after 14 ms; none of 10,508 missing after a rescue; after a kill and after a stop, the start is refused: "belongs to another file" |

The script imposes the memory limit with a memory cgroup (version 1 or 2) if it may create one, otherwise with RLIMIT_DATA, as with
--without-cgroup. First a trial process that needs more than the limit must fail. In both cases, the script reads the resident memory
and its peak (VmHWM) each 20 ms. The exit code is 1 if a figure is not as required. The script needs Linux.
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
