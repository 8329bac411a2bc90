"""Several bridges on one PostgreSQL store, with a fake Imprint that records its requests, senders, and a judge."""

import asyncio
import http.client
import itertools
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from database import Database

ROOT = Path(__file__).resolve().parents[2]
EVENTS = "/v1/sources/crm/events"
INGRESS, OPS, IMPRINT = 28080, 28090, 28400
FIELDS = {"email": ".email", "first_name": ".name.first", "last_name": ".name.last", "city": ".address.city"}
READY_WITHIN = 60.0
REST_WITHIN = 150.0
ENDED = {"delivered", "superseded"}
# After this time, the newest values of a customer are sent again if an earlier request can still arrive.
ASSERT_AFTER = 15

SOURCE = """
[auth]
kind = "none"
[events."customer.changed"]
schema = "crm/customer-changed.v1.json"
version = ".data.customer.revision"
version_domain = "sequence"
customer.imprint_id = ".data.customer.imprint_customer_id"
[events."customer.changed".update]
"""


@dataclass
class Request:
    """A request that the fake Imprint received."""

    customer: str
    replica: int
    method: str
    start: float
    values: dict
    end: float = float("inf")


class Imprint:
    """A fake Imprint. Each replica has a port of its own, so that the fake Imprint knows who sent a request."""

    def __init__(self, host: str, replicas: int, chance: random.Random) -> None:
        self.requests: list[Request] = []
        self.values: dict[str, dict] = defaultdict(dict)
        self.chance = chance
        self.loop = asyncio.new_event_loop()
        self.servers: list[asyncio.Server] = []
        started = threading.Event()
        self.thread = threading.Thread(target=self.serve, args=(host, replicas, started), daemon=True)
        self.thread.start()
        if not started.wait(10):
            raise OSError(f"the fake Imprint does not start at {host}")

    def serve(self, host: str, replicas: int, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        for replica in range(replicas):
            answer = lambda reader, writer, replica=replica: self.answer(reader, writer, replica)
            self.servers.append(self.loop.run_until_complete(asyncio.start_server(answer, host, IMPRINT + replica)))
        started.set()
        self.loop.run_forever()
        for server in self.servers:
            server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        # The cancelled tasks end.
        self.loop.run_until_complete(asyncio.sleep(0.1))
        self.loop.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replica: int) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
                body = await reader.readexactly(int(lengths[0]) if lengths else 0)
                method, path, _ = head.split(" ", 2)
                customer = path.rsplit("/", 1)[1]
                # A request of a killed replica goes on: Imprint does not notice the end of the client.
                text = await asyncio.shield(asyncio.ensure_future(self.apply((customer, replica, method), body)))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def apply(self, about: tuple[str, int, str], body: bytes) -> bytes:
        customer = about[0]
        request = Request(*about, time.monotonic(), json.loads(body or b"{}"))
        self.requests.append(request)
        # Some requests are slow, so that the faults meet requests in flight.
        await asyncio.sleep(self.chance.choice((0.02, 0.02, 0.02, 0.1, 0.3, 1.5)) * self.chance.random())
        self.values[customer].update(request.values)
        request.end = time.monotonic()
        return json.dumps({"id": customer, **self.values[customer]}).encode()

    def in_flight(self) -> int:
        return sum(request.end == float("inf") for request in self.requests[-500:])


class Replica:
    """One bridge over its restarts."""

    def __init__(self, world: "World", number: int, host: str) -> None:
        self.world, self.number, self.host = world, number, host
        self.process: subprocess.Popen | None = None
        self.owner: str | None = None
        self.log_start = 0
        self.is_stopped = False
        self.log = world.folder / f"replica-{number}.log"

    def start(self) -> None:
        """Starts the bridge. While the database is down, the bridge possibly ends, and the script starts it again."""
        world, deadline = self.world, time.monotonic() + READY_WITHIN
        with world.starting:
            while True:
                before = world.owners()
                with self.log.open("ab") as log:
                    self.process = subprocess.Popen([world.program, "serve"], env=self.environment(), stdout=log, stderr=log)
                while self.process.poll() is None and self.get("/readyz") is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                if time.monotonic() > deadline:
                    world.violate(f"replica {self.number} does not get ready within {READY_WITHIN:.0f} s")
                    raise OSError(f"replica {self.number} does not get ready, see {self.log}")
                if self.process.poll() is None:
                    break
                time.sleep(0.2)
            self.learn_owner(before)

    def learn_owner(self, before: set[str] | None) -> None:
        """Learns the number under which the bridge is registered: it is new in the table."""
        self.log_start = self.log.stat().st_size
        # The database possibly stopped since the bridge got ready.
        while (owners := self.world.owners()) is None:
            time.sleep(0.1)
        known = (before or set()) | {other.current_owner() for other in self.world.replicas if other is not self}
        self.owner = max(owners - known, key=int)

    def current_owner(self) -> str | None:
        """Returns the number of the bridge. The log has the new number of a bridge that has lost its lease."""
        with self.log.open() as log:
            log.seek(self.log_start)
            found = re.findall(r"the lease of this replica has ended.* replica=(\d+)", log.read())
        return found[-1] if found else self.owner

    def environment(self) -> dict:
        world = self.world
        settings = {
            "SOURCES_DIR": world.folder / "sources",
            "SCHEMAS_DIR": ROOT / "schemas",
            "INGRESS__LISTEN": f"{self.host}:{INGRESS}",
            "INGRESS__WORKERS": 1,
            "OPS__LISTEN": f"{self.host}:{OPS}",
            "OUTBOX__URL": world.database.url,
            "IMPRINT__BASE_URL": f"http://{world.replicas[0].host}:{IMPRINT + self.number}",
            "IMPRINT__ENVIRONMENT": "local",
            "IMPRINT__KEY_FILE": world.folder / "key",
            "IMPRINT__RATE_PER_SECOND": world.rate,
            "DISPATCH__ASSERT_AFTER": f"{ASSERT_AFTER}s",
            "SHUTDOWN__LAG": "0",
            "LOG__FILTER": "info,actix_http=off",
        }
        return {f"IMPRINT_BRIDGE__{name}": str(value) for name, value in settings.items()}

    def get(self, path: str) -> str | None:
        connection = http.client.HTTPConnection(self.host, OPS, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
            return text if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def kill(self) -> None:
        self.expect_running()
        self.process.kill()
        self.process.wait()
        self.is_stopped = False

    def stop(self) -> None:
        """Stops the bridge. On a busy machine, its threads run for some tenths of a second after the signal was sent."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        self.is_stopped = True

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.is_stopped = False

    def expect_running(self) -> None:
        if self.process.poll() is not None:
            self.world.violate(f"replica {self.number} ended by itself with {self.process.returncode}")


@dataclass
class Fault:
    """A fault of a replica, and the customers that the replica had claimed."""

    replica: int
    start: float
    owner: str
    claimed: list[str] = field(default_factory=list)
    end: float = float("inf")


@dataclass
class Load:
    """Senders that repeat each event until a replica has accepted it."""

    world: "World"
    customers: int = 50
    hot: int = 3
    per_second: float = 40.0
    senders: int = 8
    accepted: dict = field(default_factory=dict)
    newest: dict = field(default_factory=lambda: defaultdict(dict))
    retries: int = 0

    def __post_init__(self) -> None:
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.revisions = defaultdict(itertools.count)
        self.threads = []

    def start(self) -> None:
        self.threads = [threading.Thread(target=self.send, args=(number,), daemon=True) for number in range(self.senders)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(REST_WITHIN)
        if any(thread.is_alive() for thread in self.threads):
            self.world.violate("a sender got no 202 for an event until the end")

    def send(self, number: int) -> None:
        chance = random.Random(f"{self.world.seed}-{number}")
        connections: dict[int, http.client.HTTPConnection] = {}
        while not self.stopping.is_set():
            started = time.monotonic()
            # Half of the events are about a few customers.
            customer = f"c{chance.randrange(self.hot if chance.random() < 0.5 else self.customers)}"
            with self.lock:
                revision = next(self.revisions[customer]) + 1
            fields = chance.sample(sorted(FIELDS), chance.randint(1, len(FIELDS)))
            event = f"{customer}-{revision}"
            self.send_until_accepted(event, content(event, customer, revision, fields), chance, connections)
            with self.lock:
                self.accepted[event] = time.monotonic()
                for name in fields:
                    self.newest[customer][name] = max(revision, self.newest[customer].get(name, 0))
            time.sleep(max(0.0, started + self.senders / self.per_second * chance.uniform(0.5, 1.5) - time.monotonic()))

    def send_until_accepted(self, event: str, body: str, chance: random.Random, connections: dict) -> None:
        give_up = time.monotonic() + REST_WITHIN
        while time.monotonic() < give_up:
            number = chance.randrange(len(self.world.replicas))
            replica = self.world.replicas[number]
            connection = connections.setdefault(number, http.client.HTTPConnection(replica.host, INGRESS, timeout=1.5))
            try:
                connection.request("POST", EVENTS, body, {"content-type": "application/cloudevents+json"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == 202:
                    return
                if answer.status < 500 and answer.status != 429:
                    self.world.violate(f"{event} was answered with {answer.status}: {text[:200]!r}")
                    return
            except (OSError, http.client.HTTPException):
                connections.pop(number).close()
            self.retries += 1
            time.sleep(chance.uniform(0.02, 0.2))
        self.world.violate(f"no replica accepted {event}")


def value(name: str, revision: int) -> str:
    return f"r{revision}@example.com" if name == "email" else f"R{revision}"


def revision_of(text: str) -> int:
    return int(text[1:].split("@")[0])


def content(event: str, customer: str, revision: int, fields: list[str]) -> str:
    about = {"id": customer, "imprint_customer_id": customer, "revision": revision}
    for name in fields:
        *path, last = FIELDS[name][1:].split(".")
        place = about
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value(name, revision)
    return json.dumps({"specversion": "1.0", "id": event, "source": "/crm", "type": "customer.changed", "data": {"customer": about}})


class World:
    """A database, a fake Imprint and several bridges."""

    def __init__(self, program: Path, folder: Path, seed: int, slot: int = 0, replicas: int = 3, rate: int = 0,
                 data: Path | None = None, **settings: str) -> None:
        self.program, self.folder, self.seed, self.rate = program, folder, seed, rate
        self.violations: list[str] = []
        self.faults: list[Fault] = []
        self.starting = threading.Lock()
        self.started = time.monotonic()
        (folder / "key").write_text("a-key-for-imprint\n")
        (folder / "sources").mkdir()
        update = "".join(f'{name} = ".data.customer{path}"\n' for name, path in FIELDS.items())
        (folder / "sources/crm.toml").write_text(SOURCE + update)
        folder.chmod(0o755)
        self.database = Database(folder / "postgres", data, **settings)
        hosts = [f"127.{80 + slot}.{os.getpid() % 250}.{number + 1}" for number in range(replicas)]
        self.imprint = Imprint(hosts[0], replicas, random.Random(f"{seed}-imprint"))
        self.replicas: list[Replica] = []
        for number, host in enumerate(hosts):
            self.replicas.append(Replica(self, number, host))
            self.replicas[-1].start()

    def note(self, text: str) -> None:
        with (self.folder / "rounds.log").open("a") as log:
            log.write(f"{time.monotonic() - self.started:8.3f} {time.monotonic():.3f} {text}\n")

    def violate(self, text: str) -> None:
        self.note(f"VIOLATION {text}")
        self.violations.append(text)

    def owners(self) -> set[str] | None:
        rows = self.database.sql("SELECT owner FROM imprint_bridge.replica")
        return None if rows is None else {row[0] for row in rows}

    def lose(self, replica: Replica, at: float) -> Fault:
        """Adds the fault of a lost replica, with the customers whose lanes it has claimed."""
        fault = Fault(replica.number, at, replica.current_owner())
        self.add_claims(fault)
        self.faults.append(fault)
        return fault

    def add_claims(self, fault: Fault) -> None:
        """Adds the customers whose lanes the lost replica has in the database now."""
        sql = f"SELECT convert_from(substr(received, 2), 'UTF8') FROM imprint_bridge.lane WHERE owner = {fault.owner}"
        while (rows := self.database.sql(sql)) is None:
            time.sleep(0.1)
        late = [row[0] for row in rows if row[0] not in fault.claimed]
        fault.claimed += late
        if late:
            self.note(f"replica {fault.replica} ({fault.owner}) has claimed {late}, {time.monotonic() - fault.start:.3f} s after the fault")

    def wait_for_rest(self, within: float = REST_WITHIN) -> float:
        """Waits until nothing waits and no lane is claimed or due. Returns the seconds."""
        started = time.monotonic()
        sql = """SELECT (SELECT count(*) FROM imprint_bridge.payload), (SELECT count(*) FROM imprint_bridge.lane WHERE owner IS NOT NULL),
            (SELECT count(*) FROM imprint_bridge.lane WHERE due_at IS NOT NULL)"""
        while (rows := self.database.sql(sql)) != [["0", "0", "0"]]:
            if time.monotonic() > started + within:
                self.violate(f"no rest after {within:.0f} s: entries, claimed lanes, due lanes are {rows}")
                break
            time.sleep(0.25)
        return time.monotonic() - started

    def close(self) -> None:
        for replica in self.replicas:
            if replica.process:
                replica.process.kill()
                replica.process.wait()
        self.database.stop("immediate")
        self.imprint.close()
