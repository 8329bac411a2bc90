#!/usr/bin/env python3
"""Measures the bridge process under load. README.md lists the programs that this needs.

The bridge runs on one core, and the load and the fake Imprint run on another core.

  run.py deliver   accept and deliver, different customers, Imprint answers at once, 64 and 256 connections
  run.py accept    accept only: Imprint cannot be reached
  run.py prefer    accept and deliver, each event answered after its delivery (Prefer: wait)
  run.py slow      Imprint takes 50 ms per request, 256 requests in flight: during the load, and the rest after it
  run.py hot       all events of one customer, 50 ms per request
  run.py latency   500 events per second: time to the answer, and time to the arrival at Imprint
  run.py waiting   start, accept and deliver with a large backlog, and with a quarter of it
  run.py compare   accept and deliver with two binaries in turn: --binary NEW --against OLD --pairs N
  run.py sealing   accept and deliver with a sealed store and with a plain one in turn: --pairs N
  run.py cores     accept and deliver with one thread and with two; bridge, load and Imprint share two cores

The figures come from the fake Imprint's request counter and from /proc. `others` is the number of cores that other
programs used during the measurement: ignore a row whose `others` is much more than 0.1.
"""

import argparse
import json
import os
import random
import re
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INGRESS, OPS, IMPRINT, COUNTER, SLOW_IMPRINT, LISTENER = 9510, 9511, 9500, 9501, 9502, 9503
TICKS = os.sysconf("SC_CLK_TCK")
LOAD_CPU = "0"


def cpu_seconds(pid):
    """Returns the user and system time of a process and of its living children, in seconds."""
    total = 0.0
    for pid in [pid, *children(pid)]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        except FileNotFoundError:
            pass
    return total


def children(pid):
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return found + [grandchild for child in found for grandchild in children(child)]


def busy_seconds():
    """Returns the busy time of all cores together, in seconds."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / TICKS


def memory_mib(pid, field="VmRSS"):
    return int(re.search(field + r":\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def get(port, path=""):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return answer.read().decode()


def wait_until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"timed out: {what}")
        time.sleep(0.01)


class FakeImprint:
    """A fake Imprint: an nginx process that answers every update and counts requests."""

    def __init__(self, folder):
        command = ["nginx", "-p", folder, "-c", HERE / "imprint.conf"]
        self.process = subprocess.Popen(["taskset", "-c", LOAD_CPU, *command], stderr=subprocess.DEVNULL)
        wait_until("the stand-in for Imprint answers", lambda: is_open(COUNTER))

    def requests(self):
        """Returns the number of requests that nginx has counted, without the request for the counter."""
        return int(get(COUNTER).split("requests")[1].split()[2]) - 1

    def stop(self):
        self.process.terminate()
        self.process.wait()


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True
    except OSError:
        return False


class Bridge:
    def __init__(self, run, folder, imprint=IMPRINT):
        (folder / "key").write_text("a-key-for-imprint")
        settings = {
            "SOURCES_DIR": HERE / "source",
            "SCHEMAS_DIR": HERE / "source",
            "INGRESS__LISTEN": f"127.0.0.1:{INGRESS}",
            "INGRESS__WORKERS": run.threads,
            "DISPATCH__THREADS": run.threads,
            "OPS__LISTEN": f"127.0.0.1:{OPS}",
            "OUTBOX__URL": f"sqlite:{folder}/outbox.db",
            "IMPRINT__BASE_URL": f"http://127.0.0.1:{imprint}",
            "IMPRINT__ENVIRONMENT": "local",
            "IMPRINT__KEY_FILE": folder / "key",
            "IMPRINT__RATE_PER_SECOND": 0,
            "IMPRINT__CONCURRENCY": 256,
        }
        if run.is_sealed:
            (folder / "keys").mkdir()
            (folder / "keys" / "first.key").write_text(os.urandom(32).hex())
            settings["OUTBOX__KEYS_DIR"] = folder / "keys"
        settings = {f"IMPRINT_BRIDGE__{key}": str(value) for key, value in settings.items()}
        self.log = open(folder / "bridge.log", "ab")
        started = time.monotonic()
        self.process = subprocess.Popen(
            ["taskset", "-c", run.bridge_cpu, run.binary, "serve"], env={**os.environ, **settings}, stderr=self.log
        )
        wait_until("the bridge is ready", lambda: self.process.poll() is not None or self.is_ready())
        if self.process.poll() is not None:
            sys.exit(f"the bridge ended: {(folder / 'bridge.log').read_text()[-2000:]}")
        self.ready_after = time.monotonic() - started

    def is_ready(self):
        try:
            return get(OPS, "readyz") is not None
        except OSError:
            return False

    def flows(self):
        return 'destination_state{state="flowing"} 1' in get(OPS, "metrics")

    def waiting(self):
        return int(float(re.search(r"^imprint_bridge_waiting_entries (\S+)", get(OPS, "metrics"), re.M).group(1)))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()


def share_cores():
    """Lets the bridge, the load and the fake Imprint use both cores."""
    global LOAD_CPU
    LOAD_CPU = "0,1"


def load(connections, seconds, *arguments):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", HERE / "load.lua"]
    command += [f"http://127.0.0.1:{INGRESS}", "--", f"r{time.time_ns()}", *arguments]
    process = subprocess.run(["taskset", "-c", LOAD_CPU, *command], capture_output=True, text=True, check=False)
    found = re.search(r"RESULT (.*)", process.stdout)
    return json.loads(found.group(1)) if found else sys.exit(process.stdout + process.stderr)


def wait_until_drained(bridge):
    wait_until("everything is delivered", lambda: bridge.waiting() == 0, 300)


def measure_load(bridge, imprint, connections, seconds, *arguments):
    """Measures one load: accepted events, delivered requests during the load, and the cost until the last delivery."""
    count = imprint.requests if imprint else lambda: 0
    cpu, busy, delivered, started = cpu_seconds(bridge.process.pid), busy_seconds(), count(), time.monotonic()
    own = os.times()
    result = load(connections, seconds, *arguments)
    took = time.monotonic() - started
    in_time = count() - delivered
    spent, everyone = cpu_seconds(bridge.process.pid) - cpu, busy_seconds() - busy
    memory = memory_mib(bridge.process.pid)
    helpers = sum(os.times()[:4]) - sum(own[:4]) + (cpu_seconds(imprint.process.pid) if imprint else 0)
    events = max(1, result["requests"])
    figures = {
        "events_per_second": round(result["requests"] / (result["microseconds"] / 1e6)),
        "delivered_per_second": round(in_time / took),
        "p50_ms": round(result["p50_us"] / 1000, 2),
        "p99_ms": round(result["p99_us"] / 1000, 2),
        "memory_mib": round(memory),
        "refused": result["refused"] + result["broken"],
        "others": round(max(0.0, everyone - spent - helpers) / took, 2),
        "bridge_cores": round(spent / took, 2),
        "busy_cores": round(everyone / took, 2),
    }
    if imprint:
        started, left = time.monotonic(), bridge.waiting()
        wait_until_drained(bridge)
        figures["requests_per_event"] = round((count() - delivered) / events, 3)
        # A backlog that is delivered within a second after the load is too small to measure a rate.
        if time.monotonic() - started > 1:
            figures["rest_per_second"] = round(left / (time.monotonic() - started))
    figures["cpu_us_per_event"] = round((cpu_seconds(bridge.process.pid) - cpu) / events * 1e6, 1)
    return figures


def row(name, figures):
    print(json.dumps({"what": name, **figures}), flush=True)
    return figures


def deliver(run):
    for connections in (64, 256):
        rounds(run, f"deliver, {connections} connections", lambda bridge, imprint, c=connections: measure_load(bridge, imprint, c, run.seconds))


def accept(run):
    rounds(run, "accept only, 64 connections", lambda bridge, _: measure_load(bridge, None, 64, run.seconds), imprint=None)


def prefer(run):
    rounds(run, "deliver before the answer, 256 connections", lambda bridge, imprint: measure_load(bridge, imprint, 256, run.seconds, "wait"))


def slow(run):
    name = "deliver, 50 ms per request, 256 connections"
    rounds(run, name, lambda bridge, imprint: measure_load(bridge, imprint, 256, run.seconds), SLOW_IMPRINT)


def hot(run):
    name = "one customer, 50 ms per request, 64 connections"
    rounds(run, name, lambda bridge, imprint: measure_load(bridge, imprint, 64, run.seconds, "hot"), SLOW_IMPRINT)


def cores(run):
    """Measures the bridge with one thread and with two threads while all programs share two cores. A bottleneck in the
    bridge (a lock, one busy thread) would leave a core partly idle, or would raise the cost per event."""
    share_cores()
    run.bridge_cpu = "0,1"
    for threads in (1, 2):
        run.threads = threads
        name = f"two cores shared by all, 256 connections, {threads} + {threads} threads"
        rounds(run, name, lambda bridge, imprint: measure_load(bridge, imprint, 256, run.seconds))


def compare(run):
    """Measures two binaries in turn, with the order reversed in each pair. Prints the ratio of --binary to --against:
    the median over the pairs, and the 95 % interval of the median by resampling the pairs (bootstrap percentiles)."""
    if not run.against:
        sys.exit("compare needs --against BINARY")
    in_turn(run, ("binary", run.binary, run.against), ("new", "old"))


def sealing(run):
    """Measures a sealed store and a plain one in turn, as `compare` does. Prints the ratio of sealed to plain."""
    in_turn(run, ("is_sealed", True, False), ("sealed", "plain"))


def in_turn(run, option, names):
    option, *values = option
    for connections in (64, 256):
        ratios = {"events_per_second": [], "cpu_us_per_event": []}
        for pair in range(run.pairs):
            figures = {}
            for which in (0, 1) if pair % 2 else (1, 0):
                setattr(run, option, values[which])
                name = f"{names[which]}, {connections} connections"
                measure = lambda bridge, imprint: measure_load(bridge, imprint, connections, run.seconds)
                figures[which] = one_round(run, name, measure, IMPRINT)
            for key, of_pairs in ratios.items():
                of_pairs.append(figures[0][key] / figures[1][key])
        for key, of_pairs in ratios.items():
            low, high = interval(of_pairs)
            figures = {"median": round(statistics.median(of_pairs), 4), "low": round(low, 4), "high": round(high, 4)}
            row(f"{key}, {names[0]} to {names[1]}, {connections} connections, {run.pairs} pairs", figures)


def interval(values):
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(10_000))
    return medians[249], medians[9749]


def rounds(run, name, measure, imprint=IMPRINT):
    """Repeats a measurement, each time with a new store, and prints the median of each figure."""
    figures = [one_round(run, name, measure, imprint) for _ in range(run.rounds)]
    median = {key: statistics.median(figure.get(key, 0) for figure in figures) for key in figures[0]}
    row(f"{name}: median of {len(figures)}", median)


def one_round(run, name, measure, imprint):
    with tempfile.TemporaryDirectory(prefix="bench-", dir=run.disk) as folder:
        folder = Path(folder)
        nginx = FakeImprint(folder) if imprint else None
        bridge = Bridge(run, folder, imprint or IMPRINT)
        load(64, 1)
        if nginx:
            wait_until_drained(bridge)
        figures = row(name, measure(bridge, nginx))
        bridge.stop()
        if nginx:
            nginx.stop()
    return figures


class Listener(threading.Thread):
    """A fake Imprint in this process, which answers at once and records the arrival time of each customer's update."""

    def __init__(self):
        super().__init__(daemon=True)
        self.arrivals, self.arrival = {}, threading.Condition()
        self.server = socket.create_server(("127.0.0.1", LISTENER), backlog=64)
        self.start()

    def run(self):
        ready = selectors.DefaultSelector()
        ready.register(self.server, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is self.server:
                    ready.register(self.server.accept()[0], selectors.EVENT_READ, bytearray())
                elif not self.read(key.fileobj, key.data):
                    ready.unregister(key.fileobj)

    def read(self, connection, received):
        piece = connection.recv(65536)
        received += piece
        head, found, body = bytes(received).partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        if found and len(body) >= int(length.group(1)):
            now, customer = time.perf_counter(), head.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
            answer = b'{"id":"%s"}' % customer.encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))
            received.clear()
            with self.arrival:
                self.arrivals[customer] = now
                self.arrival.notify()
        return bool(piece)

    def wait_for(self, customer):
        with self.arrival:
            self.arrival.wait_for(lambda: customer in self.arrivals, 10)
            return self.arrivals.pop(customer)


def latency(run):
    """Sends one event every 2 ms, each after the arrival of the previous event at Imprint."""
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    listener, label, body = Listener(), f"l{time.time_ns()}", template()
    for every, name in ((0.002, "500 events per second"), (1.5, "one event after 1.5 s without any")):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=run.disk) as folder:
            folder = Path(folder)
            bridge, connection = Bridge(run, folder, LISTENER), socket.create_connection(("127.0.0.1", INGRESS))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answered, arrived, syncs = [], [], []
            due, end = time.perf_counter(), time.perf_counter() + run.seconds
            while due < end:
                time.sleep(max(0.0, due - time.perf_counter()))
                customer = f"{label}_{len(answered)}_{int(every * 1000)}"
                event = body.replace("CUSTOMER", customer).encode()
                request = b"POST /v1/sources/bench/events HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(event), event)
                sent = time.perf_counter()
                connection.sendall(request)
                if not connection.recv(4096).startswith(b"HTTP/1.1 202"):
                    sys.exit("an event was rejected")
                answered.append(time.perf_counter() - sent)
                arrived.append(listener.wait_for(customer) - sent)
                due = max(due + every, time.perf_counter())
            syncs = [sync_seconds(folder / "sync") for _ in range(500)]
            figures = {}
            for what, times in (("answer", answered[5:] or answered), ("arrival", arrived[5:] or arrived), ("disk_sync", syncs)):
                times.sort()
                figures[f"{what}_p50_ms"] = round(times[len(times) // 2] * 1000, 2)
                figures[f"{what}_p99_ms"] = round(times[int(len(times) * 0.99)] * 1000, 2)
            row(name, {"events": len(answered), **figures})
            connection.close()
            bridge.stop()


def sync_seconds(path):
    """Measures the time that the disk takes to sync 4 KiB."""
    with open(path, "ab", buffering=0) as file:
        file.write(os.urandom(4096))
        started = time.perf_counter()
        os.fdatasync(file.fileno())
        return time.perf_counter() - started


def template():
    """Returns the event of load.lua, with CUSTOMER in place of the ids."""
    image = {
        "name": "Maren Holt-Osei", "email": "maren.osei@example.com", "phone": "+15035550147", "preferred_language": "en",
        "address": {"line1": "61 Fern Ln", "line2": "Suite 400", "city": "Bend", "region": "OR", "postal_code": "97701", "country": "US"},
        "loyalty_tier": "gold", "ltv": {"amount": 1310.75, "currency": "USD"}, "tenure": 25,
    }
    event = {"event_id": "CUSTOMER", "type": "customer.updated", "occurred_at": "2026-01-02T03:04:05Z", "customer_id": "CUSTOMER"}
    return json.dumps({**event, "before": image, "after": image})


def waiting(run):
    """Measures the bridge with a quarter of the backlog and with the full backlog, because the figures should
    not depend on the size of the backlog."""
    for entries in (run.entries // 4, run.entries):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=run.disk) as folder:
            with_backlog(run, Path(folder), entries)


def with_backlog(run, folder, entries):
    bridge = Bridge(run, folder)
    while bridge.waiting() < entries:
        load(64, 2)
    entries, memory = bridge.waiting(), memory_mib(bridge.process.pid)
    bridge.stop()
    size = sum(file.stat().st_size for file in folder.glob("outbox.db*"))
    bridge = Bridge(run, folder)
    figures = {
        "store_mib": round(size / 2**20),
        "ready_seconds": round(bridge.ready_after, 2),
        "memory_mib": round(memory),
        "memory_after_start_mib": round(memory_mib(bridge.process.pid)),
    }
    row(f"{entries} entries waiting", figures)
    row("accept with this backlog", measure_load(bridge, None, 64, run.seconds))
    imprint = FakeImprint(folder)
    wait_until("the destination flows", lambda: bridge.flows())
    # After its start, the bridge allows only few requests in flight, so the measurement waits for 0.5 s.
    time.sleep(0.5)
    cpu, before, started = cpu_seconds(bridge.process.pid), bridge.waiting(), time.monotonic()
    time.sleep(3)
    done = before - bridge.waiting()
    spent, took = cpu_seconds(bridge.process.pid) - cpu, time.monotonic() - started
    row("deliver this backlog", {"per_second": round(done / took), "cpu_us_per_event": round(spent / max(1, done) * 1e6, 1), "memory_mib": round(memory_mib(bridge.process.pid))})
    bridge.stop()
    imprint.stop()


def main():
    cells = {cell.__name__: cell for cell in (deliver, accept, prefer, slow, hot, latency, waiting, compare, sealing, cores)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[*cells, []], default=[])
    parser.add_argument("--against", type=Path, help="the other binary, for `compare`")
    parser.add_argument("--pairs", type=int, default=10, help="number of pairs, for `compare` and `sealing`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--entries", type=int, default=1_000_000, help="size of the backlog, for `waiting`")
    parser.add_argument("--threads", type=int, default=1, help="number of ingress threads, and of dispatch threads")
    parser.add_argument("--bridge-cpu", default="1", help="cores of the bridge, in the notation of taskset")
    parser.add_argument("--disk", type=Path, help="folder of the store; the default is the folder for temporary files")
    parser.add_argument("--binary", default=ROOT / "target/dist/imprint-bridge", type=Path)
    run = parser.parse_args()
    run.is_sealed = False
    for tool in ("nginx", "wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install nginx-light libnginx-mod-http-echo wrk util-linux")
    if not run.binary.exists():
        sys.exit(f"{run.binary} is missing: cargo build --profile dist")
    # `cores` comes last, because `cores` changes the cores of all programs for the rest of the run.
    for name in run.what or [name for name in cells if name not in ("compare", "sealing")]:
        cells[name](run)


if __name__ == "__main__":
    main()
