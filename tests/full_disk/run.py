#!/usr/bin/env python3
"""Fills the disk of the store, kills the bridge, and checks that the next process delivers every waiting entry (N770).

Each case has a real ext4 file system in an image file. The bridge accepts events while Imprint is unreachable. Then the
script fills the disk, except for some bytes, and ends the process with SIGKILL (or lets it run). Imprint answers again,
and the bridge must start on the full disk and deliver every entry: only the reserve of the store gives room. At the end,
the script empties the disk, and the bridge must accept events and hold its reserve again.

The cases differ in the log of the store (almost empty, from single events, from batches of large events, as long as it
gets before the store writes it back), in the bytes that are left, and in the end of the process. The script needs root and loop devices:

    cargo build --features failpoints && sudo tests/full_disk/run.py
"""

import argparse
import http.client
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/power"))
import run as power  # noqa: E402

EVENTS = 3_000
SENDERS = 8
BATCH = 40
# The log of the store is small only after a clean stop: the last events go into a new log.
LAST_EVENTS = 10
BLOCK_BYTES = 4096
# Each large event adds some pages to the store file, so the log has many pages that the store file does not have yet.
LARGE_BYTES = 6_000
# The store writes its log back when the log has 32 MiB. The last group of events does not make the log longer than this.
FULL_LOG_BYTES = 30 * 1024 * 1024
RESERVE_BYTES = 48 * 1024 * 1024
DRAINED_WITHIN = 120.0
LOGS = ("small", "single", "large", "full")
LEFT_BYTES = (0, 256 * 1024, 2 * 1024 * 1024)
ENDS = ("kill", "none")


class Failed(Exception):
    """The error that the bridge does not do what the case expects."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Fills the disk of the store and checks that every entry is delivered.")
    parser.add_argument("--events", type=int, default=EVENTS, metavar="N", help="waiting entries in each case")
    parser.add_argument("--program", type=Path, default=power.PROGRAM, help="program of the bridge")
    options = parser.parse_args()
    power.PROGRAM = options.program
    power.demand_loop_mounts()
    cases = list(itertools.product(ENDS, LOGS, LEFT_BYTES))
    failed = 0
    print("    end   log      left      log bytes   delivered  seconds", flush=True)
    for end, log, left in cases:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="full-disk-") as folder:
            case = Case(Path(folder), options.events)
            try:
                case.run(end, log, left)
                result = f"{case.delivered()} of {case.events}"
            except (Failed, power.Lost) as error:
                failed += 1
                result = f"FAILED after {case.delivered()}: {error}"
            finally:
                case.finish()
        seconds = time.monotonic() - started
        print(f"    {end:5} {log:8} {case.left:<9,} {case.log_bytes:<11,} {result}  {seconds:.0f}", flush=True)
    if failed:
        sys.exit(f"    {failed} of {len(cases)} cases failed")
    print(f"    {len(cases)} of {len(cases)} cases delivered every entry")


class Case:
    """One disk with a bridge that has accepted events."""

    def __init__(self, folder: Path, events: int) -> None:
        self.disk = power.Disk(folder)
        self.bridge = power.Bridge(folder, self.disk)
        self.events = events
        self.store = self.disk.place / "outbox.db"
        self.filler = self.disk.place / "filler"
        self.log_bytes = 0
        self.large = False
        self.left = 0
        # The store keeps the whole event, so that large events are large in the store.
        sources = folder / "sources"
        shutil.copytree(ROOT / "config/sources", sources)
        with (sources / "crm.toml").open("a") as source:
            source.write('\n[body]\nkeep = "all"\n')
        config = self.bridge.config
        config.write_text(config.read_text().replace(f"{ROOT}/config/sources", str(sources)))
        # Imprint is unreachable until the disk is full.
        self.bridge.imprint.kill()
        self.bridge.imprint.wait()

    def run(self, end: str, log: str, left: int) -> None:
        self.bridge.start()
        if log == "small":
            self.accept(range(self.events - LAST_EVENTS), 1)
            self.bridge.process.terminate()
            self.bridge.process.wait()
            self.bridge.start()
            self.accept(range(self.events - LAST_EVENTS, self.events), 1)
        elif log == "full":
            self.large = True
            self.fill_log()
        else:
            self.large = log == "large"
            self.accept(range(self.events), BATCH if self.large else 1)
        self.log_bytes = Path(f"{self.store}-wal").stat().st_size
        self.fill(left)
        self.left = self.free()
        if end == "kill":
            self.bridge.kill()
        elif self.answer([self.event(self.events + 1)]) == 202 and not self.has_reserve():
            # A long log that was written back before is free space, and possibly enough for events and a new reserve.
            raise Failed("the bridge accepts an event on a full disk")
        self.bridge.imprint = self.bridge.launch(
            "sandbox", "--listen", f"{self.bridge.host}:28400", "--key-file", str(self.bridge.config.with_name("key"))
        )
        if end == "kill":
            self.bridge.start()
        self.drain()
        self.filler.unlink()
        self.expect_recovery()

    def fill_log(self) -> None:
        """Accepts large events until the log has almost its greatest length. All its pages are new."""
        log = Path(f"{self.store}-wal")
        self.events = 0
        while log.stat().st_size < FULL_LOG_BYTES:
            # Fast enough that the log is full before the bridge truncates it, which it does at intervals.
            self.accept(range(self.events, self.events + SENDERS * BATCH), BATCH)
            self.events += SENDERS * BATCH

    def accept(self, numbers: range, batch: int) -> None:
        groups = [numbers[start : start + batch] for start in range(0, len(numbers), batch)]
        with ThreadPoolExecutor(SENDERS) as senders:
            answers = list(senders.map(lambda group: self.answer([self.event(number) for number in group]), groups))
        if set(answers) != {202}:
            raise Failed(f"the bridge refuses an event on an empty disk: {set(answers)}")

    def answer(self, events: list[dict]) -> int:
        connection = http.client.HTTPConnection(self.bridge.host, self.bridge.ingress, timeout=30)
        kind, body = ("-batch", events) if len(events) > 1 else ("", events[0])
        headers = {"content-type": f"application/cloudevents{kind}+json"}
        connection.request("POST", power.EVENTS, json.dumps(body), headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def event(self, number: int) -> dict:
        event = json.loads(power.content(f"full-{number}", number))
        customer = event["data"]["customer"]
        customer["id"] = f"F-{number}"
        customer["imprint_customer_id"] = f"full-{number}"
        if self.large:
            event["data"]["padding"] = "x" * LARGE_BYTES
        return event

    def fill(self, left: int) -> None:
        """Fills the disk with a file of another program, except for `left` bytes."""
        with self.filler.open("ab") as filler:
            step = self.free()
            # The file system needs some blocks for the file itself, so the last steps are small.
            while step >= BLOCK_BYTES:
                spare = min(step, self.free() - left)
                try:
                    if spare > 0:
                        os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, spare)
                except OSError:
                    pass
                step //= 2

    def free(self) -> int:
        disk = os.statvfs(self.disk.place)
        return disk.f_bavail * disk.f_frsize

    def drain(self) -> None:
        """Waits until nothing waits. Another program takes no more space, but gives none back."""
        deadline = time.monotonic() + DRAINED_WITHIN
        while self.metric("waiting_entries") != 0:
            if self.bridge.process.poll() is not None:
                raise Failed("the bridge has ended")
            if time.monotonic() > deadline:
                raise Failed(f"{self.metric('waiting_entries')} entries wait")
            time.sleep(0.1)
        if self.metric("ended_total", 'state="delivered"') is None:
            raise Failed("the metric of the delivered entries is missing")

    def expect_recovery(self) -> None:
        deadline = time.monotonic() + 10
        while self.answer([self.event(self.events + 2)]) != 202:
            if time.monotonic() > deadline:
                raise Failed("the bridge refuses events although the disk has space")
            time.sleep(0.1)
        if not self.has_reserve():
            raise Failed("the bridge does not hold its reserve again")
        self.drain()

    def has_reserve(self) -> bool:
        reserve = Path(f"{self.store}.reserve")
        return reserve.exists() and reserve.stat().st_blocks * 512 >= RESERVE_BYTES

    def delivered(self) -> int:
        """Returns the number of entries of this case that the bridge has delivered, from its receipts."""
        if self.bridge.process is None or self.bridge.process.poll() is not None:
            return 0
        connection = http.client.HTTPConnection(self.bridge.host, self.bridge.ingress, timeout=5)
        found = 0
        for number in range(self.events):
            connection.request("GET", f"{power.EVENTS}/full-{number}")
            answer = connection.getresponse()
            receipt = json.load(answer)
            found += answer.status == 200 and receipt["status"] == "delivered"
        connection.close()
        return found

    def metric(self, name: str, labels: str = "") -> float | None:
        line = f"imprint_bridge_{name}" + (f"{{{labels}}} " if labels else " ")
        for text in (self.bridge.get("/metrics") or "").splitlines():
            if text.startswith(line):
                return float(text.removeprefix(line))
        return None

    def finish(self) -> None:
        self.bridge.end()
        self.disk.unmount()


if __name__ == "__main__":
    main()
