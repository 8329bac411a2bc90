#!/usr/bin/env python3
"""Kills and stops bridges that share one PostgreSQL store, restarts the database, and checks what is left (N1060).

Each round has a new database server, a fake Imprint, three bridges and senders that repeat each event until a bridge
answers 202. The events are about 50 customers, half of them about three. The number of the round is the seed of its
faults:

- each bridge is killed with SIGKILL once or twice and starts again;
- the database restarts twice: as after a crash (`immediate`), and with a clean shutdown (`fast`);
- one bridge is stopped with SIGSTOP for longer than its lease.

After each round:

- every accepted event has a final receipt, and Imprint has the newest value of each field of each customer;
- at most one request of a customer was in flight at each moment. The fake Imprint records the start and the end of each
  request, and knows the sender by the address. Only a bridge that was stopped for longer than its lease may send a late
  request beside the request of another bridge, and only about a customer that it had claimed when it was stopped;
- repeated requests concern only customers that a lost bridge had claimed: at most two for each claim, the request that
  was possibly in flight and the repetition of the newest values after the doubt. A restart of the database repeats none;
- nothing waits, no lane is claimed or due, the tally is zero, and no bridge has ended by itself.

    cargo build && tests/replicas/rounds.py [--rounds 200] [--first 1] [--jobs 4] [--results FILE]

With --results, the script appends each round to the file, and skips the rounds of the same program that are there. Exit
code 1 if a round failed; the files of a failed round stay.
"""

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from judge import judge  # noqa: E402
from world import ROOT, Fault, Load, Replica, World  # noqa: E402

LOAD_SECONDS = 30.0
# The database commits a claim that was in flight at a fault within this time. No lease ends so early.
COMMITTED_WITHIN = 5.0
COLUMNS = ("round", "holds", "seconds", "accepted", "retries", "requests", "lost", "stale", "late_overlaps", "claimed", "repeats", "rest_s")


class Faults:
    """The faults of a round. Each runs in a thread of its own."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.threads: list[threading.Thread] = []
        self.looks: list[threading.Thread] = []
        stopped = chance.choice(world.replicas)
        stop_at, stop_for = chance.uniform(1, 4), chance.uniform(16, 24)
        for replica in world.replicas:
            for _ in range(chance.choice((1, 1, 2))):
                at = chance.uniform(1, LOAD_SECONDS)
                if replica is stopped:
                    at = chance.choice((chance.uniform(0, stop_at - 0.9), chance.uniform(stop_at + stop_for + 0.5, LOAD_SECONDS + 4)))
                self.at(at, self.kill, replica, chance.uniform(0, 3))
        self.at(stop_at, self.stop, stopped, stop_for)
        first, second = sorted(chance.uniform(1, LOAD_SECONDS - 3) for _ in range(2))
        modes = chance.sample(("immediate", "fast"), 2)
        self.at(first, self.restart, modes[0], chance.uniform(0, 2))
        self.at(max(second, first + 4), self.restart, modes[1], chance.uniform(0, 2))
        self.of_replica = {replica: threading.Lock() for replica in world.replicas}
        self.of_database = threading.Lock()

    def at(self, seconds: float, fault, *arguments) -> None:
        def run() -> None:
            time.sleep(seconds)
            try:
                fault(*arguments)
            except Exception as error:  # noqa: BLE001
                self.world.violate(f"the script failed: {error!r}")

        self.threads.append(threading.Thread(target=run, daemon=True))

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        for thread in self.looks:
            thread.join()

    def kill(self, replica: Replica, down: float) -> None:
        with self.of_replica[replica]:
            at = time.monotonic()
            replica.kill()
            self.world.note(f"killed replica {replica.number} ({replica.current_owner()})")
            self.follow(self.world.lose(replica, at))
            time.sleep(down)
            replica.start()
            self.world.note(f"started replica {replica.number} ({replica.owner})")

    def stop(self, replica: Replica, seconds: float) -> None:
        with self.of_replica[replica]:
            at = time.monotonic()
            replica.stop()
            self.world.note(f"stopped replica {replica.number} ({replica.current_owner()}), {time.monotonic() - at:.3f} s after the signal")
            fault = self.world.lose(replica, at)
            self.follow(fault)
            time.sleep(max(0.0, at + seconds - time.monotonic()))
            fault.end = time.monotonic()
            replica.go_on()
            self.world.note(f"replica {replica.number} goes on")

    def follow(self, fault: Fault) -> None:
        """Looks for the claims of a lost replica that the database commits after the fault."""
        def look() -> None:
            while time.monotonic() < fault.start + COMMITTED_WITHIN:
                time.sleep(0.5)
                self.world.add_claims(fault)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        self.looks.append(thread)

    def restart(self, mode: str, down: float) -> None:
        with self.of_database:
            self.world.note(f"stopping the database: {mode}")
            self.world.database.stop(mode)
            time.sleep(down)
            self.world.database.start()
            self.world.note("the database is back")


def play(program: Path, number: int, slot: int, folder: Path) -> dict:
    started = time.monotonic()
    chance = random.Random(number)
    world = World(program, folder, number, slot, rate=chance.choice((0, 300)))
    try:
        load = Load(world)
        faults = Faults(world, chance)
        world.note("the load starts")
        load.start()
        faults.run()
        load.stop()
        world.note("the load has ended")
        figures = judge(world, load)
    finally:
        world.close()
    return {"round": number, "holds": not world.violations, "seconds": round(time.monotonic() - started), **figures, "violations": world.violations}


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills bridges that share one PostgreSQL store, and checks what is left.")
    parser.add_argument("--program", type=Path, default=ROOT / "target/debug/imprint-bridge")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--jobs", type=int, default=2, help="rounds at once")
    parser.add_argument("--results", type=Path, help="file with one line of JSON for each round")
    parser.add_argument("--keep", action="store_true", help="keep the files of all rounds")
    options = parser.parse_args()
    with options.program.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    numbers = range(options.first, options.first + options.rounds)
    done = {}
    if options.results and options.results.exists():
        lines = map(json.loads, options.results.read_text().splitlines())
        done = {line["round"]: line for line in lines if line["program"] == digest and line["round"] in numbers}
    slots = Queue()
    for slot in range(options.jobs):
        slots.put(slot)
    print("    " + " ".join(COLUMNS), flush=True)

    def run(number: int) -> dict:
        slot, folder = slots.get(), Path(tempfile.mkdtemp(prefix=f"round-{number}-"))
        try:
            result = play(options.program, number, slot, folder)
        except Exception as error:  # noqa: BLE001
            result = {"round": number, "holds": False, "violations": [f"the script failed: {error!r}"]}
        finally:
            slots.put(slot)
        if options.results:
            with options.results.open("a") as results:
                results.write(json.dumps({**result, "program": digest}) + "\n")
        print("    " + " ".join(f"{str(result.get(name, '-')):>{len(name)}}" for name in COLUMNS), flush=True)
        for violation in result["violations"][:10]:
            print(f"        {violation}", flush=True)
        if result["holds"] and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"        the files are in {folder}", flush=True)
        return result

    with ThreadPoolExecutor(options.jobs) as pool:
        results = [*done.values(), *pool.map(run, [number for number in numbers if number not in done])]
    failed = [result["round"] for result in results if not result["holds"]]
    total = lambda name: sum(result.get(name, 0) for result in results)
    print(f"    {len(results)} rounds: {total('accepted')} events accepted, {total('lost')} lost, {total('stale')} stale values, "
          f"{total('claimed')} claims at the faults, {total('repeats')} repeated requests, {total('late_overlaps')} late overlaps")
    if failed:
        print(f"    {len(failed)} rounds failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
