#!/usr/bin/env python3
"""Attacks a running bridge as a hostile client would, and prints a table with the figures and the limits.

    cargo build --release
    tests/attack/run.py [PROGRAM] [--only bodies-ingress,bodies-ops,descriptors,pipelines]

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
samples the resident memory and says so. The exit code is 1 if a figure is not as required. The script needs Linux.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = "a-key-for-the-sandbox"
TOKEN = "a-token-of-an-operator"
MEMORY_LIMIT_MIB = 256
MEMORY_MAX_MIB = 128
HEALTHY_P99_MAX_MS = 250
BODIES = 2_000
REOPEN_PER_SECOND = 100
SECONDS = 20


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class MemoryGroup:
    """A memory cgroup with a limit, or nothing if the kernel or the permissions do not allow one."""

    def __init__(self, limit_mib):
        name = f"imprint-attack-{os.getpid()}"
        self.path, self.how = None, "no limit, resident memory sampled"
        places = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory cgroup v1"),
            ("/sys/fs/cgroup", "memory.max", "memory cgroup v2"),
        ]
        for root, file, how in places:
            path = os.path.join(root, name)
            try:
                os.mkdir(path)
                with open(os.path.join(path, file), "w") as limit:
                    limit.write(str(limit_mib << 20))
            except OSError:
                self.remove(path)
                continue
            self.path, self.how = path, f"{how}, {limit_mib} MiB"
            return

    def enter(self):
        if self.path:
            with open(os.path.join(self.path, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))

    def peak_mib(self):
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            try:
                with open(os.path.join(self.path, name)) as file:
                    return int(file.read()) >> 20
            except (OSError, TypeError):
                pass
        return None

    @staticmethod
    def remove(path):
        try:
            os.rmdir(path)
        except OSError:
            pass

    def close(self):
        if self.path:
            self.remove(self.path)


class World:
    """A sandbox, and a bridge under limits, each in its own process."""

    def __init__(self, program, limit=lambda: None, key=KEY, **settings):
        self.folder = tempfile.mkdtemp(prefix="attack-")
        for name, text in (("sandbox-key", KEY), ("key", key), ("ann", TOKEN)):
            self.write(name, text)
        self.ports = {name: free_port() for name in ("sandbox", "ingress", "ops")}
        address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        log = open(os.path.join(self.folder, "log"), "w")
        command = [program, "sandbox", "--listen", address["sandbox"], "--key-file", self.path("sandbox-key")]
        self.processes = [subprocess.Popen(command, stdout=log, stderr=log)]
        environment = {
            "SOURCES_DIR": f"{ROOT}/config/sources",
            "SCHEMAS_DIR": f"{ROOT}/schemas",
            "INGRESS__LISTEN": address["ingress"],
            "OPS__LISTEN": address["ops"],
            "OUTBOX__URL": f"sqlite:{self.folder}/outbox.db",
            "IMPRINT__BASE_URL": f"http://{address['sandbox']}",
            "IMPRINT__ENVIRONMENT": "local",
            "IMPRINT__KEY_FILE": self.path("key"),
            "IMPRINT__RATE_PER_SECOND": "0",
            "SHUTDOWN__LAG": "0",
            "LOG__FILTER": "info,actix_http=off",
        }
        environment.update(settings)
        environment = {f"IMPRINT_BRIDGE__{name}": value for name, value in environment.items()}
        self.write("operator.toml", f"[ops]\ntoken_files = [\"{self.path('ann')}\"]\n")
        command = [program, "serve", "--config", self.path("operator.toml")]
        self.bridge = subprocess.Popen(command, env=environment, stdout=log, stderr=log, preexec_fn=limit)
        self.processes.append(self.bridge)
        self.until("the bridge is ready", lambda: self.probe("/readyz") == 200, 60)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name + ".new"), "w") as file:
            file.write(text)
        os.rename(self.path(name + ".new"), self.path(name))

    def until(self, what, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            if self.bridge.poll() is not None:
                raise SystemExit(f"the bridge ended with {self.bridge.returncode}, see {self.path('log')}")
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def probe(self, path, seconds=2):
        try:
            url = f"http://127.0.0.1:{self.ports['ops']}{path}"
            with urllib.request.urlopen(url, timeout=seconds) as answer:
                answer.read()
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def delivered(self, event):
        url = f"http://127.0.0.1:{self.ports['ingress']}/v1/sources/crm/events/{event}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return json.load(answer)["status"] in ("delivered", "superseded")
        except (OSError, ValueError):
            return False

    def rss_mib(self):
        with open(f"/proc/{self.bridge.pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        # The kernel has killed the process if the line is missing.
        return int(fields.get("VmRSS", "0").split()[0]) >> 10

    def cpu_seconds(self):
        with open(f"/proc/{self.bridge.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


class Sender(threading.Thread):
    """A healthy sender: one event every 50 ms on one connection, again after a 503. Also asks for a probe each time."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.stopped = world, False
        self.millis, self.statuses, self.probes = [], {}, []

    def run(self):
        connection = None
        number = 0
        while not self.stopped:
            number += 1
            body = json.dumps({
                "specversion": "1.0", "id": f"h-{number}", "source": "/crm/us", "type": "customer.changed",
                "time": "2025-02-13T19:08:07.000Z",
                "data": {"customer": {"id": "P-1", "imprint_customer_id": "c1", "revision": number, "email": f"a{number}@example.com"}},
            })
            start = time.monotonic()
            status = None
            while status != 202 and not self.stopped and time.monotonic() - start < 10:
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.world.ports["ingress"], timeout=5)
                    connection.request("POST", "/v1/sources/crm/events", body, {"content-type": "application/cloudevents+json"})
                    answer = connection.getresponse()
                    answer.read()
                    status = answer.status
                except (OSError, http.client.HTTPException) as error:
                    connection, status = None, type(error).__name__
                self.statuses[status] = self.statuses.get(status, 0) + 1
            self.millis.append((time.monotonic() - start) * 1000)
            if number % 10 == 0:
                start = time.monotonic()
                found = self.world.probe("/livez"), self.world.probe("/metrics")
                self.probes.append((found, (time.monotonic() - start) * 1000))
            time.sleep(0.05)

    def stop(self):
        self.stopped = True
        self.join()
        ordered = sorted(self.millis)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        failed = sum(1 for found, _ in self.probes if found != (200, 200))
        slowest = max((millis for _, millis in self.probes), default=0)
        text = f"sender: {len(ordered)} events, p99 {p99:.0f} ms, answers {self.statuses}; probes: {len(self.probes)}, failed {failed}, slowest {slowest:.0f} ms"
        return p99, failed, text


def keep_open(port, count, request, stop, reopen, reads=True):
    """Keeps `count` connections open on which `request` was sent and nothing follows."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    waiting = selectors.DefaultSelector()
    closed = 0
    next_reopen = time.monotonic()

    def add():
        s = socket.socket()
        s.setblocking(False)
        if not reads:
            # The bridge works until the buffers of the kernel are full.
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        s.connect_ex(("127.0.0.1", port))
        events = selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0)
        waiting.register(s, events, [request])

    for _ in range(count):
        add()
    while not stop.is_set():
        for key, events in waiting.select(0.2):
            s, left = key.fileobj, key.data
            try:
                if events & selectors.EVENT_WRITE:
                    left[0] = left[0][s.send(left[0]):] if left[0] else left[0]
                    if not left[0] and reads:
                        waiting.modify(s, selectors.EVENT_READ, left)
                    elif not left[0]:
                        left[0] = request
                if events & selectors.EVENT_READ and not s.recv(65536):
                    raise ConnectionResetError
            except BlockingIOError:
                continue
            except OSError:
                waiting.unregister(s)
                s.close()
                closed += 1
        # Opening again at full speed would measure the accept loop of the kernel and not stalled clients.
        while reopen and closed and time.monotonic() > next_reopen:
            closed -= 1
            next_reopen = max(next_reopen, time.monotonic() - 0.2) + 1 / REOPEN_PER_SECOND
            add()


class Attack:
    """Hostile clients in their own process."""

    def __init__(self, *arguments, **keywords):
        self.stopped = multiprocessing.Event()
        arguments = (*arguments, self.stopped)
        self.process = multiprocessing.Process(target=keep_open, args=arguments, kwargs=keywords)
        self.process.start()

    def stop(self):
        self.stopped.set()
        self.process.join()


def bodies(program, port, request):
    group = MemoryGroup(MEMORY_LIMIT_MIB)
    world = World(program, limit=group.enter)
    before = world.rss_mib()
    sender = Sender(world)
    sender.start()
    attack = Attack(world.ports[port], BODIES, request, reopen=True)
    peak = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and world.bridge.poll() is None:
        peak = max(peak, world.rss_mib())
        time.sleep(0.1)
    p99, failed, text = sender.stop()
    killed = world.bridge.poll()
    attack.stop()
    in_group = group.peak_mib()
    world.close()
    group.close()
    figures = f"resident {before} MiB before, {peak} MiB at most"
    figures += f", {in_group} MiB in the group" if in_group else ""
    figures += f", ended with {killed}" if killed is not None else ""
    holds = killed is None and (in_group or peak) <= MEMORY_MAX_MIB and p99 < HEALTHY_P99_MAX_MS and failed == 0
    return holds, group.how, f"{figures}; {text}"


def bodies_ingress(program):
    body = b" " * 190_000
    head = b"POST /v1/sources/crm/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 200000\r\n\r\n"
    return bodies(program, "ingress", head + body)


def bodies_ops(program):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = b"POST /admin/v1/explain?source=crm HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    return bodies(program, "ops", head + chunk * 3 + b"10000\r\n")


def descriptors(program):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    world = World(program, limit=limit, key="an-old-key")
    attacks = [
        Attack(world.ports["ingress"], 1000, b"", reopen=True),
        Attack(world.ports["ops"], 300, b"", reopen=True),
    ]
    time.sleep(3)
    sender = Sender(world)
    sender.start()
    time.sleep(SECONDS / 2)
    world.write("key", KEY)
    delivered = world.until("an event is delivered", lambda: any(world.delivered(f"h-{n}") for n in range(1, 3)), 40)
    descriptors = len(os.listdir(f"/proc/{world.bridge.pid}/fd"))
    p99, failed, text = sender.stop()
    for attack in attacks:
        attack.stop()
    world.close()
    holds = delivered and failed == 0 and p99 < HEALTHY_P99_MAX_MS
    return holds, "RLIMIT_NOFILE 256, soft and hard", f"{descriptors} descriptors, delivered with the new key: {delivered}; {text}"


def pipelines(program):
    world = World(program)
    request = b"GET /v1/x HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    metrics = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    before = world.rss_mib()
    attacks = [
        Attack(world.ports["ingress"], 30, request, reopen=False, reads=False),
        Attack(world.ports["ops"], 30, metrics, reopen=False, reads=False),
    ]
    # The buffers of the kernel, above all the receive buffers of the clients, fill up first.
    time.sleep(SECONDS / 2)
    start, cpu = time.monotonic(), world.cpu_seconds()
    peak = 0
    while time.monotonic() - start < SECONDS / 2:
        peak = max(peak, world.rss_mib())
        time.sleep(0.1)
    share = (world.cpu_seconds() - cpu) / (time.monotonic() - start)
    probe = world.probe("/livez")
    for attack in attacks:
        attack.stop()
    world.close()
    return share < 0.05 and probe == 200, "none", f"{share:.1%} of a core, resident {before} MiB before, {peak} MiB at most, /livez {probe}"


SCENARIOS = {
    "bodies-ingress": bodies_ingress,
    "bodies-ops": bodies_ops,
    "descriptors": descriptors,
    "pipelines": pipelines,
}


def main():
    arguments = argparse.ArgumentParser(description="Attacks a running bridge.")
    arguments.add_argument("program", nargs="?", default=f"{ROOT}/target/release/imprint-bridge")
    arguments.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, separated by commas")
    options = arguments.parse_args()
    multiprocessing.set_start_method("fork")
    failed = 0
    print("| scenario | holds | limit | figures |\n|---|---|---|---|", flush=True)
    for name in options.only.split(","):
        holds, limit, figures = SCENARIOS[name](options.program)
        failed += not holds
        print(f"| {name} | {'yes' if holds else 'NO'} | {limit} | {figures} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
