#!/usr/bin/env python3
"""Measures the pages of the console and the lists of the admin API with 1,000,000 entries, and the cost of the scrapes.

    cargo build --release
    tests/measure/console.py [PROGRAM] [--entries 1000000] [--requests 60] [--pairs 8] [--keep DIR]

Imprint accepts no connection, so that the entries wait. One event of 50 is invalid and parked. The script fills the store
through the event listener, and prints the p50 and the p95 of each page. Then it sends events at a constant rate, with 100
scrapes of /metrics a second and without, in turn, and prints the p99 of the answers. It asserts nothing, because machines
are noisy: each line has the load average of its time. --keep DIR keeps the store there, and a store that is already there
is used without filling it again.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-the-operator-of-the-measurement"
# The store remembers the host of Imprint, so a kept store needs the same address.
HOST = "127.67.0.1"
BATCH, SENDERS, CUSTOMERS, RARE_EVERY, INVALID_EVERY, HOT_EVERY = 100, 4, 200_000, 1000, 50, 100
PAUSES, LOAD_SECONDS, PER_SECOND, SCRAPES_PER_SECOND, LOAD_SENDERS = 150, 15.0, 300, 100, 3
# The versions of the events: a second for each event, all in the past.
FIRST = 1_700_000_000

SOURCE = """
[auth]
kind = "none"
[body]
format = "json"
split = ".[]"
id = ".id"
type = ".type"
on_invalid = "park"
"""
EVENTS = """
[events."{type}"]
schema = "measure/event.json"
version = ".at"
version_domain = "time"
customer.imprint_id = ".customer"
[events."{type}".update]
email = ".email"
first_name = ".first"
"""
SCHEMA = {"type": "object", "required": ["id", "customer", "at"], "properties": {
    "id": {"type": "string"}, "type": {"type": "string"}, "customer": {"type": "string"}, "at": {"type": "string"},
    "email": {"type": "string"}, "first": {"type": "string"}}}


class Bridge:
    """The release program with a store of its own, and with an address where no Imprint listens."""

    def __init__(self, program, folder, entries):
        self.host, self.folder = HOST, folder
        (folder / "sources").mkdir(exist_ok=True)
        (folder / "schemas/measure").mkdir(parents=True, exist_ok=True)
        for name, types in (("shop", ("changed", "rare")), ("seldom", ("changed",))):
            text = SOURCE + "".join(EVENTS.format(type=kind) for kind in types)
            (folder / f"sources/{name}.toml").write_text(text)
        (folder / "schemas/measure/event.json").write_text(json.dumps(SCHEMA))
        (folder / "key").write_text("a-key-for-imprint\n")
        (folder / "ann").write_text(TOKEN)
        for secret in ("key", "ann"):
            (folder / secret).chmod(0o600)
        settings = {
            "SOURCES_DIR": folder / "sources", "SCHEMAS_DIR": folder / "schemas",
            "INGRESS__LISTEN": f"{self.host}:8080", "OPS__LISTEN": f"{self.host}:9090", "OPS__TOKEN_FILES": folder / "ann",
            "OUTBOX__URL": f"sqlite:{folder}/outbox.db", "IMPRINT__BASE_URL": f"http://{self.host}:9400",
            "IMPRINT__ENVIRONMENT": "local", "IMPRINT__KEY_FILE": folder / "key", "IMPRINT__RATE_PER_SECOND": 0,
            "SHUTDOWN__LAG": "0",
        }
        environment = {f"IMPRINT_BRIDGE__{name}": str(value) for name, value in settings.items()}
        started = time.monotonic()
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program, "serve"], env=environment, stdout=log, stderr=log)
        self.wait_until(lambda: self.get("/readyz")[0] == 200, 300)
        row("start with this store, until ready", f"{time.monotonic() - started:.1f} s")
        self.entries = entries

    def wait_until(self, condition, seconds):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"the bridge does not respond, see {self.folder}/log")
            time.sleep(0.1)

    def get(self, path, headers=None, connection=None):
        connection = connection or http.client.HTTPConnection(self.host, 9090, timeout=120)
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer

    def post(self, path, body, headers):
        connection = http.client.HTTPConnection(self.host, 9090, timeout=60)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    def admin(self, path, body):
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        return self.post(path, json.dumps(body), headers).status

    def log_in(self):
        """Returns the cookie of a session of the console."""
        form = urllib.parse.urlencode({"token": TOKEN, "next": "/"})
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": f"http://{self.host}:9090"}
        answer = self.post("/login", form, headers)
        if answer.status != 303:
            sys.exit(f"the login is answered with {answer.status}")
        return answer.getheader("set-cookie").split(";")[0]

    def metric(self, name):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(f"imprint_bridge_{name} "):
                return int(float(line.split()[1]))
        return 0

    def stop(self):
        self.process.terminate()
        self.process.wait()


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def event(number):
    kind = "rare" if number % RARE_EVERY == 7 else "changed"
    customer = "hot" if number % HOT_EVERY == 3 else f"c{number * 7919 % CUSTOMERS}"
    email = "no-address" if number % INVALID_EVERY == 11 else f"c{number}@example.com"
    return {"id": f"e{number}", "type": kind, "customer": customer, "at": moment(FIRST + number), "email": email,
            "first": "Maren"}


def fill(host, sender, entries):
    connection = http.client.HTTPConnection(host, 8080, timeout=60)
    for start in range(sender * BATCH, entries, SENDERS * BATCH):
        body = json.dumps([event(number) for number in range(start, min(start + BATCH, entries))])
        source = "seldom" if start == 20 * BATCH else "shop"
        while True:
            connection.request("POST", f"/v1/sources/{source}/events", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 202:
                break
            if answer.status not in (429, 503):
                sys.exit(f"an event is answered with {answer.status}: {text[:300]}")
            time.sleep(0.05)


def send_at_rate(host, sender, run, answers):
    """Sends one event at a time at a constant rate. The time of an answer counts from the time at which the event was due."""
    os.nice(-5)
    connection = http.client.HTTPConnection(host, 8080, timeout=60)
    interval, started, times, number = LOAD_SENDERS / PER_SECOND, time.perf_counter() + 0.2, [], 0
    while number * interval < LOAD_SECONDS:
        due = started + number * interval
        time.sleep(max(0.0, due - time.perf_counter()))
        fields = {"id": f"r{run}-{sender}-{number}", "type": "changed", "customer": f"x{run}-{sender}-{number}",
                  "at": moment(FIRST), "email": "x@example.com"}
        connection.request("POST", "/v1/sources/shop/events", json.dumps([fields]), {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status == 202:
            times.append(time.perf_counter() - due)
        number += 1
    answers.put(times)


def scrape_at_rate(host, seconds, answers):
    connection, started, times, number = http.client.HTTPConnection(host, 9090, timeout=60), time.perf_counter(), [], 0
    while number / SCRAPES_PER_SECOND < seconds:
        due = started + number / SCRAPES_PER_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        sent = time.perf_counter()
        connection.request("GET", "/metrics")
        connection.getresponse().read()
        times.append(time.perf_counter() - sent)
        number += 1
    answers.put((times, number / (time.perf_counter() - started)))


def row(name, text):
    print(f"{name:66} {text}  [load {os.getloadavg()[0]:.1f}]", flush=True)


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def pages(bridge):
    """Returns the pages and the lists: the name, the path, and whether it is a page of the console."""
    listed = "/entries?state="
    middle = bridge.entries // 2
    past, now = moment(time.time() - 3600), moment(time.time())
    console = ["/", "/problems", "/entries", listed + "waiting", listed + "all", listed + "delivered", listed + "parked",
               listed + "undecided", listed + "held", listed + "waiting&order=oldest", f"{listed}waiting&after={middle}",
               f"{listed}all&after={middle}&order=oldest", listed + "all&source=seldom", listed + "parked&source=seldom",
               listed + "waiting&source=nobody", listed + "all&type=rare", listed + "waiting&type=rare",
               listed + "parked&type=rare", listed + "parked&reason=invalid", listed + "parked&reason=rejected",
               listed + f"all&id=e{middle}", listed + "all&id=none", listed + "all&customer=c7919",
               listed + "all&customer=hot", listed + "parked&customer=hot", listed + f"all&since={past}",
               listed + f"all&before={past}", listed + f"parked&since={now}", listed + f"waiting&since={now}",
               f"/entries/{middle}", "/customers", "/customers?id=c7919", "/customers?id=hot", "/customers?id=nobody",
               "/sources", "/destination", "/audit"]
    api = "/admin/v1"
    admin = [f"{api}/entries", f"{api}/entries?state=waiting&limit=100", f"{api}/entries?state=all&limit=100",
             f"{api}/entries?state=all&source=seldom", f"{api}/entries?state=all&type=rare",
             f"{api}/entries?state=parked&reason=rejected", f"{api}/entries?state=all&customer=hot",
             f"{api}/entries?state=waiting&after={middle}", f"{api}/entries/{middle}", f"{api}/cases", f"{api}/audit",
             f"{api}/destination", f"{api}/status", f"{api}/sources", f"{api}/brakes", f"{api}/denied-requests",
             f"{api}/shadow", "/metrics"]
    return [(path, True) for path in console] + [(path, False) for path in admin]


def measure_pages(bridge, requests):
    cookie, slow = bridge.log_in(), 0
    for path, is_console in pages(bridge):
        headers = {"cookie": cookie} if is_console else {"authorization": f"Bearer {TOKEN}"}
        connection, times, status, size = http.client.HTTPConnection(bridge.host, 9090, timeout=120), [], 0, 0
        for _ in range(requests):
            started = time.perf_counter()
            status, text, _ = bridge.get(path, headers, connection)
            times.append(time.perf_counter() - started)
            size = len(text)
            # A page that takes seconds needs no further request.
            if sum(times) > 60:
                break
        p50, p95 = percentile(times, 0.5), percentile(times, 0.95)
        slow += p95 > 100
        mark = " SLOW" if p95 > 100 else ""
        row(path, f"{status} {size:>7} bytes  p50 {p50:8.1f} ms  p95 {p95:8.1f} ms{mark}")
    row("pages and lists with a p95 over 100 ms", slow)


def load(bridge, run, with_scrapes):
    answers, scrapes = multiprocessing.Queue(), multiprocessing.Queue()
    senders = [multiprocessing.Process(target=send_at_rate, args=(bridge.host, n, run, answers)) for n in range(LOAD_SENDERS)]
    scraper = multiprocessing.Process(target=scrape_at_rate, args=(bridge.host, LOAD_SECONDS + 0.2, scrapes))
    started = [*senders, scraper] if with_scrapes else senders
    for process in started:
        process.start()
    times = [took for _ in senders for took in answers.get()]
    scraped = scrapes.get() if with_scrapes else None
    for process in started:
        process.join()
    return times, scraped


def measure_scrapes(bridge, pairs):
    ratios = []
    for pair in range(pairs):
        p99 = {}
        for which in (False, True) if pair % 2 else (True, False):
            times, scraped = load(bridge, f"{time.time_ns()}", which)
            p99[which] = percentile(times, 0.99)
            extra = f"; scrape p50 {percentile(scraped[0], 0.5):.1f} ms, {scraped[1]:.0f} a second" if scraped else ""
            name = f"accept at {PER_SECOND} a second, {'with' if which else 'without'} {SCRAPES_PER_SECOND} scrapes a second"
            row(name, f"p50 {percentile(times, 0.5):.2f} ms  p99 {p99[which]:.2f} ms, {len(times)} answers{extra}")
        ratios.append(p99[True] / p99[False])
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(10_000))
    row("accept p99 with scrapes to without, median of the pairs", f"{statistics.median(ratios):.3f} (95 %: {medians[249]:.3f} to {medians[9749]:.3f})")


def fill_store(bridge, entries):
    started = time.monotonic()
    senders = [multiprocessing.Process(target=fill, args=(bridge.host, sender, entries)) for sender in range(SENDERS)]
    for process in senders:
        process.start()
    for process in senders:
        process.join()
    if any(process.exitcode for process in senders):
        sys.exit("a sender failed")
    for number in range(PAUSES):
        mode = ("paused", "open")[number % 2]
        if bridge.admin("/admin/v1/destination", {"mode": mode, "reason": "measurement"}) != 200:
            sys.exit("the bridge does not set the mode")
    row(f"fill with {entries} events in bodies of {BATCH}", f"{time.monotonic() - started:.0f} s")


def main():
    parser = argparse.ArgumentParser(description="Measures the console and the scrapes with many entries.")
    parser.add_argument("program", nargs="?", type=Path, default=ROOT / "target/release/imprint-bridge")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=60, help="requests for each page")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of loads, with scrapes and without")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder of the store, which is kept")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="console-"))
    folder.mkdir(parents=True, exist_ok=True)
    is_filled = (folder / "outbox.db").exists()
    bridge = Bridge(options.program, folder, options.entries)
    try:
        if not is_filled:
            fill_store(bridge, options.entries)
        row("entries", f"{bridge.metric('waiting_entries')} waiting, {bridge.metric('parked_entries')} parked, "
            f"store {(folder / 'outbox.db').stat().st_size / 2**20:.0f} MiB")
        measure_pages(bridge, options.requests)
        if options.pairs:
            measure_scrapes(bridge, options.pairs)
    finally:
        bridge.stop()
        if not options.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
