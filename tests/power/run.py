#!/usr/bin/env python3
"""Cuts the power under the bridge many times and checks that no accepted event is lost (FAULTS T4, D10, N2).

A killed process loses no written data, because the kernel still has this data. Only a power cut shows whether an answer
waited for the disk. So the store is on an ext4 file system in an image file. EXT4_IOC_SHUTDOWN without a flush shuts
the file system down under the running program: data that was not synced is lost, as after a power cut. Then the script
mounts the file system again, starts the bridge again, and expects a receipt for every event that was answered with 202.

Answers that arrive after the start of the cut do not count: a real machine would send no such answer, but here the
program still runs. An answer after the cut may be wrong, because an fdatasync during the shutdown can return success
for lost data. The cause is the kernel (6.18): a plain loop of pwrite and fdatasync on such a disk shows the same.

In a second pass, a failpoint lets commits return before the disk has the data, and the script must detect a loss:
otherwise the first pass proves nothing. The script needs root, loop devices, and the program
built with the feature "failpoints":

    cargo build --features failpoints && sudo tests/power/run.py [--cycles N]
"""

import argparse
import fcntl
import http.client
import itertools
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/debug/imprint-bridge"

# From linux/fs/ext4/ext4.h: _IOR('X', 125, __u32), and the flag to shut down without writing the journal back.
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2

IMAGE_BYTES = 256 * 1024 * 1024
SENDERS = 4
CUSTOMERS = 40
READY_WITHIN = 10.0
DRAINED_WITHIN = 60.0
FAILPOINT_CYCLES_MAX = 20
EVENTS = "/v1/sources/crm/events"


class Lost(Exception):
    """The error that an event is missing although the bridge answered it with 202."""


class Disk:
    """An ext4 file system in an image file, which can lose its power."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk.img"
        self.place = folder / "disk"
        self.place.mkdir()
        with self.image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        # Without blocks that only root can use: the bridge runs as root here.
        run("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        self.mount()

    def mount(self) -> None:
        run("mount", "-o", "loop", str(self.image), str(self.place))

    def unmount(self) -> None:
        run("umount", str(self.place))

    def cut(self) -> None:
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)


class Bridge:
    """The real bridge program over many restarts, with one store and one address."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.host = f"127.78.{os.getpid() % 250}.1"
        self.ingress, self.ops, imprint = 28080, 28090, 28400
        self.failpoints = ""
        self.log = (folder / "log").open("ab")
        (folder / "key").write_text("power-key\n")
        self.config = folder / "bridge.toml"
        self.config.write_text(f"""
            sources_dir = "{ROOT}/config/sources"
            schemas_dir = "{ROOT}/schemas"
            [ingress]
            listen = "{self.host}:{self.ingress}"
            workers = 2
            [ops]
            listen = "{self.host}:{self.ops}"
            [outbox]
            url = "sqlite:{disk.place}/outbox.db"
            [imprint]
            base_url = "http://{self.host}:{imprint}"
            environment = "local"
            key_file = "{folder}/key"
            rate_per_second = 0
        """)
        self.imprint = self.launch("sandbox", "--listen", f"{self.host}:{imprint}", "--key-file", f"{folder}/key")
        self.process = None

    def launch(self, *arguments: str) -> subprocess.Popen:
        environment = {"IMPRINT_BRIDGE_FAILPOINTS": self.failpoints}
        return subprocess.Popen([PROGRAM, *arguments], env=environment, stdout=self.log, stderr=self.log)

    def start(self) -> None:
        self.process = self.launch("serve", "--config", str(self.config))
        deadline = time.monotonic() + READY_WITHIN
        while self.get("/readyz") is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Lost(f"the bridge does not start after the power cut; see {self.log.name}")
            time.sleep(0.01)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def end(self) -> None:
        self.kill()
        self.imprint.kill()
        self.imprint.wait()
        self.log.close()

    def get(self, path: str) -> str | None:
        """Returns the body of an answer from the ops listener, or None if the status is not 200."""
        connection = http.client.HTTPConnection(self.host, self.ops, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
            return text if answer.status == 200 else None
        except OSError:
            return None
        finally:
            connection.close()

    def drain(self) -> None:
        deadline = time.monotonic() + DRAINED_WITHIN
        while "\nimprint_bridge_waiting_entries 0\n" not in (self.get("/metrics") or ""):
            if time.monotonic() > deadline:
                raise Lost(f"the waiting entries do not drain; see {self.log.name}")
            time.sleep(0.05)


class Load:
    """Senders that record the events that the bridge accepted."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.accepted: list[str] = []
        self.numbers = itertools.count(1)
        self.stopping = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        self.stopping.clear()
        self.threads = [threading.Thread(target=self.send, daemon=True) for _ in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def send(self) -> None:
        connection = http.client.HTTPConnection(self.bridge.host, self.bridge.ingress, timeout=2)
        while not self.stopping.is_set():
            number = next(self.numbers)
            event = f"power-{number}"
            try:
                connection.request("POST", EVENTS, content(event, number), {"content-type": "application/cloudevents+json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 202 and not self.stopping.is_set():
                    self.accepted.append(event)
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.005)
        connection.close()


def content(event: str, number: int) -> str:
    customer = number % CUSTOMERS
    return json.dumps({
        "specversion": "1.0",
        "id": event,
        "source": "/crm/us",
        "type": "customer.changed",
        "time": "2025-02-13T19:08:07Z",
        "data": {
            "customer": {
                "id": f"P-{customer}",
                "imprint_customer_id": f"power-{customer}",
                "revision": number,
                "email": f"r{number}.c{customer}@example.com",
            }
        },
    })


def expect_receipts(bridge: Bridge, events: list[str], states: set[str]) -> None:
    """Checks that each accepted event has a receipt in an allowed state."""
    connection = http.client.HTTPConnection(bridge.host, bridge.ingress, timeout=5)
    missing = []
    for event in events:
        connection.request("GET", f"{EVENTS}/{event}")
        answer = connection.getresponse()
        receipt = json.load(answer)
        if answer.status != 200 or receipt["status"] not in states:
            missing.append(event)
    connection.close()
    if missing:
        raise Lost(f"{len(missing)} of {len(events)} are lost, the first is {missing[0]}")


def cut_power(folder: Path, cycles: int, failpoints: str, chance: random.Random) -> int:
    """Cuts the power `cycles` times and returns the number of accepted events. Raises Lost if one is missing."""
    disk = Disk(folder)
    bridge = Bridge(folder, disk)
    load = Load(bridge)
    try:
        checked = 0
        for cycle in range(1, cycles + 1):
            # The first run has no failpoint, because the power cut must lose an accepted event and not the whole
            # store.
            bridge.failpoints = failpoints if cycle > 1 else ""
            bridge.start()
            expect_receipts(bridge, load.accepted[checked:], {"waiting", "delivered", "superseded"})
            checked = len(load.accepted)
            load.start()
            time.sleep(chance.uniform(0.005, 0.5))
            load.stopping.set()
            disk.cut()
            load.stop()
            bridge.kill()
            disk.unmount()
            disk.mount()
            if cycle % 25 == 0:
                print(f"    {cycle} power cuts, {len(load.accepted)} events accepted", flush=True)
        bridge.start()
        bridge.drain()
        expect_receipts(bridge, load.accepted, {"delivered", "superseded"})
        return len(load.accepted)
    finally:
        load.stop()
        bridge.end()
        disk.unmount()


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def demand_loop_mounts() -> None:
    if os.geteuid() != 0:
        sys.exit("the power cut test needs root: it mounts a file system")
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM} does not exist: cargo build --features failpoints")
    with tempfile.TemporaryDirectory() as folder:
        try:
            disk = Disk(Path(folder))
            try:
                disk.cut()
            finally:
                disk.unmount()
        except OSError as error:
            sys.exit(f"this machine cannot mount ext4 from an image file: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cuts the power under the bridge and checks that no accepted event is lost.")
    parser.add_argument("--cycles", type=int, default=50, metavar="N", help="power cuts without a failpoint")
    parser.add_argument("--seed", type=int, default=None, help="seed of the random numbers")
    options = parser.parse_args()
    demand_loop_mounts()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"    seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="power-") as folder:
        try:
            accepted = cut_power(Path(folder), options.cycles, "", random.Random(seed))
        except Lost as loss:
            sys.exit(f"    LOST: {loss}")
    if accepted < options.cycles:
        sys.exit(f"    only {accepted} events were accepted: too few to prove anything")
    print(f"    {options.cycles} power cuts, {accepted} events accepted, 0 lost", flush=True)
    with tempfile.TemporaryDirectory(prefix="power-detects-loss-") as folder:
        try:
            cut_power(Path(folder), FAILPOINT_CYCLES_MAX, "synchronous_off", random.Random(seed))
        except Lost as loss:
            print(f"    failpoint synchronous_off: loss detected: {loss}")
            return
    sys.exit("    the loss was not detected: is the program built with --features failpoints?")


if __name__ == "__main__":
    main()
