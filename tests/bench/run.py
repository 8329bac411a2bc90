#!/usr/bin/env python3
"""Measures the bridge as a process, on one core, with the load and the partner on another. README.md says what it needs.

  run.py deliver   accept and deliver, distinct customers, partner at once, 64 and 256 connections
  run.py accept    accept alone: the partner cannot be reached
  run.py prefer    accept and deliver, each answered after its delivery (Prefer: wait)
  run.py slow      a partner that takes 50 ms, 256 requests at once: while load lasts, and of what is left after it
  run.py hot       one customer gets all events, from a partner that takes 50 ms
  run.py latency   500 events a second: from sending one to its answer, and to the partner's having it
  run.py waiting   start, accept, and deliver with many entries waiting, and with a quarter as many
  run.py cores     accept and deliver with one thread and with two, where bridge, load and partner share two cores

A figure is what the partner counted and what /proc says of the bridge's CPU; `others` is how many cores other programs used
meanwhile: throw a row away where it is much above 0.1.
"""

import argparse
import json
import os
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
INGRESS, OPS, PARTNER, COUNTER, SLOW_PARTNER, OWN_PARTNER = 9510, 9511, 9500, 9501, 9502, 9503
TICKS = os.sysconf("SC_CLK_TCK")
LOAD_CPU = "0"


def cpu_seconds(pid):
    """User and system time of a process and of its children that are there."""
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
    """What all cores together have been busy for."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / TICKS


def memory_mib(pid, what="VmRSS"):
    return int(re.search(what + r":\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def get(port, path=""):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return answer.read().decode()


def until(what, is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.01)


class Partner:
    """nginx, which answers at once and counts."""

    def __init__(self, folder):
        command = ["nginx", "-p", folder, "-c", HERE / "partner.conf"]
        self.process = subprocess.Popen(["taskset", "-c", LOAD_CPU, *command], stderr=subprocess.DEVNULL)
        until("the partner answers", lambda: is_open(COUNTER))

    def counted(self):
        """Requests so far, this one not among them."""
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
    def __init__(self, run, folder, partner=PARTNER):
        (folder / "key").write_text("a-key-for-the-partner")
        settings = {
            "SOURCES_DIR": HERE / "source",
            "SCHEMAS_DIR": HERE / "source",
            "INGRESS__LISTEN": f"127.0.0.1:{INGRESS}",
            "INGRESS__WORKERS": run.threads,
            "DISPATCH__THREADS": run.threads,
            "OPS__LISTEN": f"127.0.0.1:{OPS}",
            "OUTBOX__URL": f"sqlite:{folder}/outbox.db",
            "IMPRINT__BASE_URL": f"http://127.0.0.1:{partner}",
            "IMPRINT__ENVIRONMENT": "local",
            "IMPRINT__KEY_FILE": folder / "key",
            "IMPRINT__RATE_PER_SECOND": 0,
            "IMPRINT__CONCURRENCY": 256,
        }
        settings = {f"IMPRINT_BRIDGE__{key}": str(value) for key, value in settings.items()}
        self.log = open(folder / "bridge.log", "ab")
        started = time.monotonic()
        self.process = subprocess.Popen(
            ["taskset", "-c", run.bridge_cpu, run.binary, "serve"], env={**os.environ, **settings}, stderr=self.log
        )
        until("the bridge is ready", lambda: self.process.poll() is not None or self.is_ready())
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
    """Bridge, load and partner on both cores, wherever the kernel puts them."""
    global LOAD_CPU
    LOAD_CPU = "0,1"


def load(connections, seconds, *arguments):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", HERE / "load.lua"]
    command += [f"http://127.0.0.1:{INGRESS}", "--", f"r{time.time_ns()}", *arguments]
    said = subprocess.run(["taskset", "-c", LOAD_CPU, *command], capture_output=True, text=True, check=False)
    found = re.search(r"RESULT (.*)", said.stdout)
    return json.loads(found.group(1)) if found else sys.exit(said.stdout + said.stderr)


def drained(bridge):
    until("everything is delivered", lambda: bridge.waiting() == 0, 300)


def measured(bridge, partner, connections, seconds, *arguments):
    """One cell: what came in, what the partner had of it when load ended, and what all of it cost when it was over."""
    count = partner.counted if partner else lambda: 0
    cpu, busy, delivered, started = cpu_seconds(bridge.process.pid), busy_seconds(), count(), time.monotonic()
    own = os.times()
    result = load(connections, seconds, *arguments)
    took = time.monotonic() - started
    in_time = count() - delivered
    spent, everyone = cpu_seconds(bridge.process.pid) - cpu, busy_seconds() - busy
    memory = memory_mib(bridge.process.pid)
    helpers = sum(os.times()[:4]) - sum(own[:4]) + (cpu_seconds(partner.process.pid) if partner else 0)
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
    if partner:
        started, left = time.monotonic(), bridge.waiting()
        drained(bridge)
        figures["requests_per_event"] = round((count() - delivered) / events, 3)
        # What was left in less than a second says nothing of a rate.
        if time.monotonic() - started > 1:
            figures["rest_per_second"] = round(left / (time.monotonic() - started))
    figures["cpu_us_per_event"] = round((cpu_seconds(bridge.process.pid) - cpu) / events * 1e6, 1)
    return figures


def row(name, figures):
    print(json.dumps({"what": name, **figures}), flush=True)
    return figures


def deliver(run):
    for connections in (64, 256):
        rounds(run, f"deliver, {connections} connections", lambda bridge, partner, c=connections: measured(bridge, partner, c, run.seconds))


def accept(run):
    rounds(run, "accept alone, 64 connections", lambda bridge, _: measured(bridge, None, 64, run.seconds), partner=None)


def prefer(run):
    rounds(run, "deliver before the answer, 256 connections", lambda bridge, partner: measured(bridge, partner, 256, run.seconds, "wait"))


def slow(run):
    name = "deliver in 50 ms each, 256 connections"
    rounds(run, name, lambda bridge, partner: measured(bridge, partner, 256, run.seconds), SLOW_PARTNER)


def hot(run):
    name = "one customer, 64 connections, 50 ms each"
    rounds(run, name, lambda bridge, partner: measured(bridge, partner, 64, run.seconds, "hot"), SLOW_PARTNER)


def cores(run):
    """Nobody has four cores here, so the load cannot have two of its own. All share two: if the bridge kept one of them
    waiting (a lock, a thread that has to do everything), some of them would be idle or events would cost more."""
    share_cores()
    run.bridge_cpu = "0,1"
    for threads in (1, 2):
        run.threads = threads
        name = f"two cores shared by all, 256 connections, {threads} + {threads} threads"
        rounds(run, name, lambda bridge, partner: measured(bridge, partner, 256, run.seconds))


def rounds(run, name, measure, partner=PARTNER):
    """The same cell several times, each with a store of its own, and the median of each figure."""
    figures = []
    for _ in range(run.rounds):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=run.disk) as folder:
            folder = Path(folder)
            nginx = Partner(folder) if partner else None
            bridge = Bridge(run, folder, partner or PARTNER)
            load(64, 1)
            if nginx:
                drained(bridge)
            figures.append(row(name, measure(bridge, nginx)))
            bridge.stop()
            if nginx:
                nginx.stop()
    median = {key: statistics.median(figure.get(key, 0) for figure in figures) for key in figures[0]}
    row(f"{name}: median of {len(figures)}", median)


class Listener(threading.Thread):
    """A partner in this process that answers at once and knows when it had which customer's update."""

    def __init__(self):
        super().__init__(daemon=True)
        self.had, self.news = {}, threading.Condition()
        self.door = socket.create_server(("127.0.0.1", OWN_PARTNER), backlog=64)
        self.start()

    def run(self):
        ready = selectors.DefaultSelector()
        ready.register(self.door, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is self.door:
                    ready.register(self.door.accept()[0], selectors.EVENT_READ, bytearray())
                elif not self.hear(key.fileobj, key.data):
                    ready.unregister(key.fileobj)

    def hear(self, connection, heard):
        piece = connection.recv(65536)
        heard += piece
        head, found, body = bytes(heard).partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        if found and len(body) >= int(length.group(1)):
            now, customer = time.perf_counter(), head.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
            answer = b'{"id":"%s"}' % customer.encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))
            heard.clear()
            with self.news:
                self.had[customer] = now
                self.news.notify()
        return bool(piece)

    def when(self, customer):
        with self.news:
            self.news.wait_for(lambda: customer in self.had, 10)
            return self.had.pop(customer)


def latency(run):
    """One event every 2 ms, each sent when the one before it has arrived."""
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    listener, label, body = Listener(), f"l{time.time_ns()}", template()
    for every, name in ((0.002, "500 events a second"), (1.5, "one event after silence")):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=run.disk) as folder:
            folder = Path(folder)
            bridge, door = Bridge(run, folder, OWN_PARTNER), socket.create_connection(("127.0.0.1", INGRESS))
            door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answered, arrived, syncs = [], [], []
            due, end = time.perf_counter(), time.perf_counter() + run.seconds
            while due < end:
                time.sleep(max(0.0, due - time.perf_counter()))
                customer = f"{label}_{len(answered)}_{int(every * 1000)}"
                event = body.replace("CUSTOMER", customer).encode()
                request = b"POST /v1/sources/bench/events HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(event), event)
                sent = time.perf_counter()
                door.sendall(request)
                if not door.recv(4096).startswith(b"HTTP/1.1 202"):
                    sys.exit("an event was refused")
                answered.append(time.perf_counter() - sent)
                arrived.append(listener.when(customer) - sent)
                due = max(due + every, time.perf_counter())
            syncs = [synced(folder / "sync") for _ in range(500)]
            figures = {}
            for what, times in (("answer", answered[5:] or answered), ("arrival", arrived[5:] or arrived), ("disk_sync", syncs)):
                times.sort()
                figures[f"{what}_p50_ms"] = round(times[len(times) // 2] * 1000, 2)
                figures[f"{what}_p99_ms"] = round(times[int(len(times) * 0.99)] * 1000, 2)
            row(name, {"events": len(answered), **figures})
            door.close()
            bridge.stop()


def synced(path):
    """How long this disk takes to make 4 KiB durable."""
    with open(path, "ab", buffering=0) as file:
        file.write(os.urandom(4096))
        started = time.perf_counter()
        os.fdatasync(file.fileno())
        return time.perf_counter() - started


def template():
    """The event of load.lua, as text with CUSTOMER in the place of the ids."""
    image = {
        "name": "Maren Holt-Osei", "email": "maren.osei@example.com", "phone": "+15035550147", "preferred_language": "en",
        "address": {"line1": "61 Fern Ln", "line2": "Suite 400", "city": "Bend", "region": "OR", "postal_code": "97701", "country": "US"},
        "loyalty_tier": "gold", "ltv": {"amount": 1310.75, "currency": "USD"}, "tenure": 25,
    }
    event = {"event_id": "CUSTOMER", "type": "customer.updated", "occurred_at": "2026-01-02T03:04:05Z", "customer_id": "CUSTOMER"}
    return json.dumps({**event, "before": image, "after": image})


def waiting(run):
    """The same with a part of the entries and with all of them: what is measured is not to depend on how many there are."""
    for entries in (run.entries // 4, run.entries):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=run.disk) as folder:
            beside(run, Path(folder), entries)


def beside(run, folder, entries):
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
    row("accept beside them", measured(bridge, None, 64, run.seconds))
    partner = Partner(folder)
    until("the destination flows", lambda: bridge.flows())
    # It begins with few requests at once.
    time.sleep(0.5)
    cpu, before, started = cpu_seconds(bridge.process.pid), bridge.waiting(), time.monotonic()
    time.sleep(3)
    done = before - bridge.waiting()
    spent, took = cpu_seconds(bridge.process.pid) - cpu, time.monotonic() - started
    row("deliver them", {"per_second": round(done / took), "cpu_us_per_event": round(spent / max(1, done) * 1e6, 1), "memory_mib": round(memory_mib(bridge.process.pid))})
    bridge.stop()
    partner.stop()


def main():
    cells = {cell.__name__: cell for cell in (deliver, accept, prefer, slow, hot, latency, waiting, cores)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[*cells, []], default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--entries", type=int, default=1_000_000, help="how many wait, for `waiting`")
    parser.add_argument("--threads", type=int, default=1, help="threads that take events, and as many that deliver")
    parser.add_argument("--bridge-cpu", default="1", help="the cores the bridge may use, as taskset names them")
    parser.add_argument("--disk", type=Path, help="where the store is put, if not where temporary files are")
    parser.add_argument("--binary", default=ROOT / "target/dist/imprint-bridge", type=Path)
    run = parser.parse_args()
    for tool in ("nginx", "wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install nginx-light libnginx-mod-http-echo wrk util-linux")
    if not run.binary.exists():
        sys.exit(f"{run.binary} is missing: cargo build --profile dist")
    # What shares the cores comes last: it stays so.
    for name in run.what or cells:
        cells[name](run)


if __name__ == "__main__":
    main()
