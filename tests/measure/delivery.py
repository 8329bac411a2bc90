#!/usr/bin/env python3
"""Measures delivery under faults: the release program sends to its own sandbox, in real time.

    cargo build --release
    tests/measure/delivery.py [PROGRAM] [--only amplification,outage,rate,key,isolation,pile] [--key-minutes 5]

Prints one line for each figure and asserts nothing, because machines are noisy: compare only figures of one run.
"""

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = "a-key-for-the-sandbox"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(url, body=None, method=None, kind="application/json"):
    data = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    try:
        return json.loads(text)
    except ValueError:
        return text.decode()


class World:
    """A sandbox and a bridge, each in its own process."""

    def __init__(self, program, key=KEY, **settings):
        self.folder = tempfile.mkdtemp(prefix="measure-")
        self.key_file = os.path.join(self.folder, "key")
        self.write_key(key)
        sandbox_key = os.path.join(self.folder, "sandbox-key")
        with open(sandbox_key, "w") as file:
            file.write(KEY)
        ports = [free_port() for _ in range(3)]
        self.sandbox, self.ingress, self.ops = (f"http://127.0.0.1:{port}" for port in ports)
        log = open(os.path.join(self.folder, "log"), "w")
        listen = f"127.0.0.1:{ports[0]}"
        command = [program, "sandbox", "--listen", listen, "--key-file", sandbox_key]
        self.processes = [subprocess.Popen(command, stdout=log, stderr=log)]
        environment = {
            "IMPRINT_BRIDGE__SOURCES_DIR": f"{ROOT}/config/sources",
            "IMPRINT_BRIDGE__SCHEMAS_DIR": f"{ROOT}/schemas",
            "IMPRINT_BRIDGE__INGRESS__LISTEN": f"127.0.0.1:{ports[1]}",
            "IMPRINT_BRIDGE__OPS__LISTEN": f"127.0.0.1:{ports[2]}",
            "IMPRINT_BRIDGE__OUTBOX__URL": f"sqlite:{self.folder}/outbox.db",
            "IMPRINT_BRIDGE__IMPRINT__BASE_URL": self.sandbox,
            "IMPRINT_BRIDGE__IMPRINT__ENVIRONMENT": "local",
            "IMPRINT_BRIDGE__IMPRINT__KEY_FILE": self.key_file,
            "IMPRINT_BRIDGE__SHUTDOWN__LAG": "0",
            "IMPRINT_BRIDGE__IMPRINT__RATE_PER_SECOND": "0",
        }
        environment.update({f"IMPRINT_BRIDGE__{name}": value for name, value in settings.items()})
        self.processes.append(subprocess.Popen([program, "serve"], env=environment, stdout=log, stderr=log))
        for url in (self.sandbox + "/sandbox/stats", self.ops + "/readyz"):
            self.until(lambda url=url: self.answers(url), 30)

    def answers(self, url):
        try:
            ask(url)
            return True
        except OSError:
            return False

    def write_key(self, key):
        with open(self.key_file + ".new", "w") as file:
            file.write(key)
        os.rename(self.key_file + ".new", self.key_file)

    def until(self, condition, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.05)
        raise SystemExit(f"the condition did not become true within {seconds} s; see {self.folder}/log")

    def event(self, customer, revision):
        return {
            "specversion": "1.0", "id": f"{customer}-{revision}", "source": "/crm", "type": "customer.changed",
            "time": "2025-02-13T19:08:07Z",
            "data": {"customer": {"id": f"P-{customer}", "imprint_customer_id": customer, "revision": revision,
                                  "email": f"{customer}-{revision}@example.com"}},
        }

    def post(self, events):
        for start in range(0, len(events), 100):
            ask(self.ingress + "/v1/sources/crm/events", events[start:start + 100],
                kind="application/cloudevents-batch+json")

    def metric(self, name):
        for line in ask(self.ops + "/metrics").splitlines():
            if line.startswith(f"imprint_bridge_{name} "):
                return float(line.split()[-1])
        return 0.0

    def inject(self, rules):
        ask(self.sandbox + "/sandbox/faults", rules)

    def clear(self):
        ask(self.sandbox + "/sandbox/faults", method="DELETE")

    def outage(self, seconds):
        ask(self.sandbox + "/sandbox/outage", {"for_ms": int(seconds * 1000)})

    def calls(self):
        entries, after = [], 0
        while True:
            page = ask(f"{self.sandbox}/sandbox/ledger?after={after}&limit=10000")
            if not page["entries"]:
                return entries
            entries += page["entries"]
            after = entries[-1]["seq"]

    def drained(self, seconds=300):
        self.until(lambda: self.metric("waiting_entries") == 0, seconds)

    def end(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait()


def report(name, figure):
    print(f"{name:58} {figure}", flush=True)


def max_per_second(calls):
    at = sorted(call["at_ms"] for call in calls)
    most, start = 0, 0
    for end, moment in enumerate(at):
        while at[start] <= moment - 1000:
            start += 1
        most = max(most, end - start + 1)
    return most


def amplification(program, _):
    world = World(program)
    world.inject([{"rate": 0.3, "action": {"status": 500}}])
    number = 2000
    world.post([world.event(f"c{customer}", 1) for customer in range(number)])
    world.drained(600)
    report("30 % random 500s: requests per delivered event", f"{len(world.calls()) / number:.3f}")
    report("  parked", world.metric("parked_entries"))
    world.end()


def outage(program, _):
    world = World(program)
    world.outage(60)
    began = time.monotonic()
    revision = 0
    while time.monotonic() - began < 58:
        revision += 1
        world.post([world.event(f"c{customer}", revision) for customer in range(20)])
        time.sleep(1)
    calls = world.calls()
    first = calls[0]["at_ms"]
    later = [call for call in calls if call["at_ms"] > first + 2000]
    report("full outage of 60 s: requests in total", len(calls))
    report("  requests per 5 s, after the first 2 s", f"{len(later) / (56 / 5):.2f}")
    world.drained()
    back = [call for call in world.calls() if call["status"] == 200]
    report("  requests after the outage, for 20 customers", len(back))
    report("  first delivery after the end of the outage, s", f"{(back[0]['at_ms'] - first) / 1000 - 60:.1f}")
    report("  parked", world.metric("parked_entries"))
    world.end()


def rate(program, _):
    world = World(program, IMPRINT__RATE_PER_SECOND="100")
    world.post([world.event(f"c{customer}", 1) for customer in range(600)])
    partners = []
    for customer in range(400):
        event = world.event(f"p{customer}", 1)
        event["data"]["customer"]["imprint_customer_id"] = None
        partners.append(event)
    world.post(partners)
    ask(world.sandbox + "/sandbox/customers",
        [{"id": f"i{n}", "partner_customer_id": f"P-p{n}"} for n in range(400)])
    world.drained()
    calls = world.calls()
    report("limit of 100/s: maximum number of requests in one second", max_per_second(calls))
    report("  searches in total", sum(call["operation"] == "search" for call in calls))
    report("  maximum number of searches in one second", max_per_second([c for c in calls if c["operation"] == "search"]))
    world.end()


def key(program, options):
    world = World(program, key="another-key")
    seconds = options.key_minutes * 60
    began, revision = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        revision += 1
        world.post([world.event(f"c{revision % 500}", revision)])
        time.sleep(0.02)
    calls = world.calls()
    first = calls[0]["at_ms"]
    probes = [call for call in calls if call["at_ms"] > first + 2000]
    report(f"401 for {seconds} s at 50 events/s: requests in the first 2 s, then", f"{len(calls) - len(probes)}, {len(probes)}")
    report("  waiting events; parked events", f"{world.metric('waiting_entries'):.0f}; {world.metric('parked_entries'):.0f}")
    world.write_key(KEY)
    changed = time.time() * 1000
    world.drained()
    good = [call for call in world.calls() if call["status"] == 200]
    report("  first delivery after the key changed, s", f"{(good[0]['at_ms'] - changed) / 1000:.1f}")
    receipt = ask(world.ingress + "/v1/sources/crm/events/c1-1")
    report("  attempts of the first event", receipt["attempts"])
    world.end()


def pile(program, _):
    world = World(program)
    world.outage(3600)
    with open(f"{ROOT}/config/sources/crm/customer-changed.event.json") as file:
        sample = json.load(file)
    for revision in range(1, 101):
        batch = []
        for customer in range(100):
            event = json.loads(json.dumps(sample))
            event["id"] = f"{customer}-{revision}"
            event["data"]["customer"].update(
                {"id": f"P{customer}", "imprint_customer_id": f"C{customer}", "revision": revision})
            batch.append(event)
        world.post(batch)
    before = len(world.calls())
    world.clear()
    world.drained()
    calls = world.calls()[before:]
    report("10,000 changes of 100 customers: requests after the outage", len(calls))
    ended = [world.metric('ended_total{state="%s"}' % state) for state in ("delivered", "superseded")]
    report("  delivered; superseded", "; ".join(f"{number:.0f}" for number in ended))
    world.end()


def latencies(world, seconds):
    """Measures the time from posting an event to the request at Imprint. Each customer changes once."""
    posted = {}
    began, number = time.monotonic(), 0
    prefix = f"h{int(time.time() * 1000)}-"
    while time.monotonic() - began < seconds:
        customer = f"{prefix}{number}"
        posted[customer] = time.time() * 1000
        world.post([world.event(customer, 1)])
        number += 1
        time.sleep(max(0.0, began + number * 0.005 - time.monotonic()))
    world.until(lambda: ask(world.ingress + f"/v1/sources/crm/events/{prefix}{number - 1}-1")["status"] == "delivered", 30)
    time.sleep(1)
    calls = {call["customer"]: call["at_ms"] for call in world.calls() if call["operation"] == "update"}
    taken = sorted(calls[customer] - at for customer, at in posted.items() if customer in calls)
    return taken[len(taken) // 2], taken[int(len(taken) * 0.99)]


def background(ingress, hot, seconds):
    """Posts two events every 5 ms: of one hot and one hanging customer, or of a new customer for each event."""
    world = World.__new__(World)
    world.ingress = ingress
    began, revision, run = time.monotonic(), 0, int(time.time() * 1000)
    while time.monotonic() - began < seconds:
        revision += 1
        pair = ("hot", "hanging") if hot else (f"b{run}-{revision}", f"d{run}-{revision}")
        world.post([world.event(customer, run + revision) for customer in pair])
        time.sleep(max(0.0, began + revision * 0.005 - time.monotonic()))


def isolation(program, _):
    world = World(program)
    world.inject([{"customer": "hanging", "action": {"hang": True}}, {"action": {"latency_ms": 20}}])
    figures = {False: [], True: []}
    for hot in (False, True) * 3:
        load = multiprocessing.Process(target=background, args=(world.ingress, hot, 12))
        load.start()
        time.sleep(1)
        figures[hot].append(latencies(world, 10))
        load.join()
    calm, disturbed = (sorted(figures[hot], key=lambda pair: pair[1])[1] for hot in (False, True))
    report("200/s of healthy customers plus 400/s of others: p50, p99 ms", f"{calm[0]:.1f}, {calm[1]:.1f}")
    report("  if the others are one hot and one hanging customer", f"{disturbed[0]:.1f}, {disturbed[1]:.1f}")
    report("  p99 with / without the hanging customer", f"{disturbed[1] / max(calm[1], 0.1):.2f}")
    world.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default=f"{ROOT}/target/release/imprint-bridge")
    parser.add_argument("--only", default="pile,amplification,outage,rate,isolation,key")
    parser.add_argument("--key-minutes", type=float, default=5)
    options = parser.parse_args()
    for name in options.only.split(","):
        globals()[name](options.program, options)


if __name__ == "__main__":
    sys.exit(main())
