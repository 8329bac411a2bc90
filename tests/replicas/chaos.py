#!/usr/bin/env python3
"""Disturbs the database of three bridges under load, and checks that they recover without a restart (N1063 to N1067).

| scenario | fault |
|---|---|
| terminate | an operator ends a random session of the bridges every 50 to 150 ms, for 15 s |
| connections | other programs hold all 300 connections of the server for 20 s, and the sessions of the bridges have ended |
| disk | the disk of the tables is full for 10 s: the server refuses new rows |
| log-disk | the disk of the whole server is full: the server stops, and starts again when there is space |
| readers | four sessions hold snapshots for 25 s and read the tables again and again |
| lock | another session locks the table of the lanes for 12 s |

After each scenario, no bridge has ended, and everything that the rounds of rounds.py demand holds: nothing is lost, Imprint has
the newest values, no request repeats an earlier one or overlaps it, and every lane comes to rest. The script needs root for the
two full disks (it mounts a small file system in memory):

    cargo build && sudo tests/replicas/chaos.py [--only terminate,connections]
"""

import argparse
import os
import pwd
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from judge import judge  # noqa: E402
from world import ROOT, Load, World  # noqa: E402

CONNECTIONS = 300
OWN = "application_name = 'imprint-bridge'"
COLUMNS = ("accepted", "retries", "requests", "lost", "stale", "repeats", "rest_s")


class SmallDisk:
    """A file system in memory that can be full."""

    def __init__(self, place: Path, mib: int) -> None:
        self.place = place
        place.mkdir()
        owner = pwd.getpwnam("nobody")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700,uid={owner.pw_uid},gid={owner.pw_gid}", "tmpfs", str(place)], check=True)

    def fill(self) -> None:
        with (self.place / "filler").open("wb", buffering=0) as filler:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    pass

    def empty(self) -> None:
        (self.place / "filler").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=False)


class Idle:
    """An idle connection to the server, over its Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(folder / ".s.PGSQL.5432"))
        text = b"user\0bridge\0database\0store\0\0"
        self.socket.sendall(struct.pack("!ii", len(text) + 8, 196608) + text)
        self.is_open = self.socket.recv(1) == b"R"

    def close(self) -> None:
        self.socket.close()


def terminate(world: World) -> None:
    chance, end = random.Random(world.seed), time.monotonic() + 15
    while time.monotonic() < end:
        world.database.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OWN} ORDER BY random() LIMIT 1")
        time.sleep(chance.uniform(0.05, 0.15))


def connections(world: World) -> None:
    folder, held = world.database.folder, []
    terminator = world.database.session("SELECT 1;")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        terminator.stdin.write(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OWN};\n")
        terminator.stdin.flush()
        refused = 0
        while refused < 3:
            idle = Idle(folder)
            if idle.is_open:
                held.append(idle)
            else:
                idle.close()
                refused += 1
        time.sleep(0.5)
    world.note(f"held {len(held)} connections")
    if len(held) < CONNECTIONS - 5:
        world.violate(f"the script holds only {len(held)} connections")
    for idle in held:
        idle.close()
    terminator.stdin.close()
    terminator.wait()


def disk(world: World) -> None:
    place = SmallDisk(world.folder / "disk", 64)
    world.disks.append(place)
    for statement in (f"CREATE TABLESPACE small LOCATION '{place.place}'", *(f"ALTER TABLE imprint_bridge.{table} SET TABLESPACE small" for table in ("payload", "entry"))):
        if world.database.sql(statement) is None:
            world.violate(f"failed: {statement}")
    time.sleep(3)
    place.fill()
    world.note("the disk is full")
    # The free space inside the tables lasts for some time.
    for _ in range(200):
        if "53100" in (world.folder / "postgres/server.log").read_text() or " No space left" in (world.folder / "postgres/server.log").read_text():
            break
        time.sleep(0.1)
    else:
        world.violate("the disk was full, but the server refused nothing")
    time.sleep(10)
    place.empty()
    world.note("the disk has space again")


def log_disk(world: World) -> None:
    place = world.disks[0]
    time.sleep(3)
    place.fill()
    world.note("the disk is full")
    ended = time.monotonic() + 60
    while time.monotonic() < ended and world.database.sql("CREATE TABLE filled AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 20000) n; DROP TABLE filled") is not None:
        pass
    time.sleep(8)
    place.empty()
    world.note("the disk has space again")
    world.database.stop("immediate")
    world.database.start()


def readers(world: World) -> None:
    read = "SELECT count(*) FROM imprint_bridge.entry, imprint_bridge.lane WHERE entry.lane = lane.id; SELECT pg_sleep(1);"
    sessions = [world.database.session("BEGIN ISOLATION LEVEL REPEATABLE READ;" + read * 20) for _ in range(4)]
    time.sleep(25)
    for session in sessions:
        session.kill()
        session.wait()


def lock(world: World) -> None:
    session = world.database.session("BEGIN; LOCK TABLE imprint_bridge.lane IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(12);")
    time.sleep(12)
    session.stdin.close()
    session.wait()


SCENARIOS = {"terminate": terminate, "connections": connections, "disk": disk, "log-disk": log_disk, "readers": readers, "lock": lock}


class ChaosWorld(World):
    """A world whose database possibly has a small disk."""

    def __init__(self, name: str, program: Path, folder: Path, seed: int) -> None:
        self.disks: list[SmallDisk] = []
        if name == "log-disk":
            self.disks.append(SmallDisk(folder / "small", 192))
        super().__init__(program, folder, seed, slot=30, data=self.disks[0].place / "data" if self.disks else None,
            max_connections=str(CONNECTIONS), min_wal_size="32MB", max_wal_size="64MB")

    def close(self) -> None:
        super().close()
        for disk in self.disks:
            disk.close()


def play(name: str, program: Path, folder: Path, seed: int) -> tuple[dict, list[str]]:
    world = ChaosWorld(name, program, folder, seed)
    try:
        load = Load(world)
        load.start()
        time.sleep(3)
        started = time.monotonic()
        SCENARIOS[name](world)
        world.note(f"the fault has ended after {time.monotonic() - started:.0f} s")
        before = len(load.accepted)
        time.sleep(10)
        if len(load.accepted) - before < 50:
            world.violate(f"only {len(load.accepted) - before} events were accepted in 10 s after the fault")
        load.stop()
        figures = judge(world, load)
    finally:
        world.close()
    return figures, world.violations


def main() -> int:
    parser = argparse.ArgumentParser(description="Disturbs the database of three bridges under load.")
    parser.add_argument("--program", type=Path, default=ROOT / "target/debug/imprint-bridge")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("    the full disks need root", file=sys.stderr)
        return 2
    failed = 0
    print("    scenario holds " + " ".join(COLUMNS), flush=True)
    for name in options.only.split(","):
        folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
        figures, violations = play(name, options.program, folder, options.seed)
        failed += bool(violations)
        print(f"    {name:11} {'no' if violations else 'yes'} " + " ".join(f"{figures[column]:>{len(column)}}" for column in COLUMNS), flush=True)
        for violation in violations[:10]:
            print(f"        {violation}", flush=True)
        if violations:
            print(f"        the files are in {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
