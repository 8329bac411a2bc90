#!/usr/bin/env python3
"""Measures bridges that share one PostgreSQL store. The bridges, the database, the load and the fake Imprint share all cores.

    rate.py replicas    accept and deliver with 1, 2 and 4 bridges, and pgbench with like statements in the same run
    rate.py snapshot    accept and deliver while a session holds a snapshot, and after it
    rate.py growth      dead rows and the sizes of the tables over time, at a steady rate

The load and the fake Imprint are those of tests/bench (wrk and nginx). Each event has 700 bytes and a customer of its own. The database has its
default settings, and its commits are durable. The figures:

| figure | meaning |
|---|---|
| `accepted_per_second` | events that the bridges answered with 202, per second of the load |
| `delivered_per_second` | requests that the fake Imprint counted, per second of the load |
| `through_per_second` | events that were accepted and delivered, per second from the start of the load to the last delivery |
| `wal_bytes`, `commits`, `statements` | per event, until the last delivery. `statements` are the calls in pg_stat_statements |
| `group` | events per commit |
| `others` | cores that other programs used meanwhile: compare only rows with a small value |

pgbench runs two clients: one inserts groups of events, and the other claims, settles and deletes groups. A group has 100 events.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bench")]
import run as bench  # noqa: E402
from database import Database  # noqa: E402

FIRST_PORT = 9520
CONNECTIONS = 256
GROUP = 100
STATEMENTS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "off"}

# The tables are new, so PostgreSQL has no statistics that would lead it to the indexes.
PLANS = {"PGOPTIONS": "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_bitmapscan=off"}

PGBENCH_TABLES = """
CREATE SCHEMA b;
CREATE SEQUENCE b.n;
CREATE TABLE b.entry (id bigint PRIMARY KEY, event_key bytea NOT NULL, ce_key bytea NOT NULL, source text NOT NULL, ce_source text NOT NULL,
    event_id text NOT NULL, event_type text NOT NULL, digest bytea NOT NULL, lane bigint, accepted_at bigint NOT NULL, state smallint NOT NULL,
    attempts bigint NOT NULL DEFAULT 0, settled_at bigint);
CREATE UNIQUE INDEX ON b.entry (event_key, ce_key);
CREATE INDEX ON b.entry (lane, id) WHERE settled_at IS NOT NULL;
CREATE TABLE b.payload (entry bigint PRIMARY KEY, lane bigint NOT NULL, state smallint NOT NULL, facts bytea NOT NULL, event bytea NOT NULL);
CREATE INDEX ON b.payload (lane, entry) WHERE state = 0;
CREATE TABLE b.lane (id bigint PRIMARY KEY, customer bytea NOT NULL, due_at bigint, owner bigint, epoch bigint NOT NULL DEFAULT 0, versions bytea);
CREATE UNIQUE INDEX ON b.lane (customer);
CREATE INDEX ON b.lane (due_at, id) WHERE due_at IS NOT NULL AND owner IS NULL;
CREATE INDEX ON b.lane (owner) WHERE owner IS NOT NULL;
"""
ACCEPT = f"""
WITH g AS MATERIALIZED (SELECT nextval('b.n') AS id, decode(md5(random()::text), 'hex') AS key FROM generate_series(1, {GROUP})),
e AS (INSERT INTO b.entry (id, event_key, ce_key, source, ce_source, event_id, event_type, digest, lane, accepted_at, state)
    SELECT id, key, key, 'bench', '', 'r1764263000000000000_' || id, 'customer.updated', key, id, 1764263000000, 0 FROM g),
l AS (INSERT INTO b.lane (id, customer, due_at) SELECT id, key, 1764263000000 FROM g)
INSERT INTO b.payload (entry, lane, state, facts, event)
    SELECT id, id, 0, convert_to(repeat(md5(id::text), 20), 'UTF8'), convert_to(repeat(md5(id::text), 22), 'UTF8') FROM g;
"""
DELIVER = f"""
UPDATE b.lane AS l SET owner = 1, epoch = l.epoch + 1 FROM (SELECT id FROM b.lane WHERE due_at IS NOT NULL AND owner IS NULL
    ORDER BY due_at, id LIMIT {GROUP} FOR UPDATE SKIP LOCKED) AS f WHERE l.id = f.id;
SELECT count(length(p.facts)) FROM b.payload p JOIN b.lane l ON p.lane = l.id WHERE l.owner = 1 AND p.state = 0;
BEGIN;
SELECT id FROM b.lane WHERE owner = 1 ORDER BY id FOR UPDATE;
DELETE FROM b.payload p USING b.lane l WHERE l.owner = 1 AND p.lane = l.id AND p.state = 0;
UPDATE b.entry AS e SET state = 1, settled_at = 1764263000000, attempts = 1 FROM b.lane l WHERE l.owner = 1 AND e.id = l.id;
UPDATE b.lane SET owner = NULL, due_at = NULL, versions = convert_to(repeat(md5(id::text), 6), 'UTF8') WHERE owner = 1;
COMMIT;
"""


class Bridges:
    """Several bridges on one store."""

    def __init__(self, binary: Path, folder: Path, database: Database, count: int) -> None:
        self.ports, self.processes = [], []
        (folder / "key").write_text("a-key-for-imprint")
        for number in range(count):
            ingress, ops = FIRST_PORT + 2 * number, FIRST_PORT + 2 * number + 1
            settings = {
                "SOURCES_DIR": bench.HERE / "source",
                "SCHEMAS_DIR": bench.HERE / "source",
                "INGRESS__LISTEN": f"127.0.0.1:{ingress}",
                "INGRESS__WORKERS": 1,
                "OPS__LISTEN": f"127.0.0.1:{ops}",
                "OUTBOX__URL": database.url,
                "IMPRINT__BASE_URL": f"http://127.0.0.1:{bench.IMPRINT}",
                "IMPRINT__ENVIRONMENT": "local",
                "IMPRINT__KEY_FILE": folder / "key",
                "IMPRINT__RATE_PER_SECOND": 0,
                "IMPRINT__CONCURRENCY": 256,
                "SHUTDOWN__LAG": "0",
            }
            environment = {f"IMPRINT_BRIDGE__{name}": str(value) for name, value in settings.items()}
            log = (folder / f"bridge-{number}.log").open("ab")
            self.processes.append(subprocess.Popen([binary, "serve"], env={**os.environ, **environment}, stdout=log, stderr=log))
            bench.wait_until("the bridge is ready", lambda ops=ops: is_ready(ops))
            self.ports.append(ingress)

    def load(self, seconds: int, connections: int = CONNECTIONS) -> dict:
        """Runs one load for each bridge. Returns the sum of the requests."""
        results = []

        def one(port: int) -> None:
            command = ["wrk", "-t1", f"-c{max(1, connections // len(self.ports))}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", bench.HERE / "load.lua"]
            done = subprocess.run([*command, f"http://127.0.0.1:{port}", "--", f"r{port}{time.time_ns()}"], capture_output=True, text=True, check=False)
            results.append(json.loads(done.stdout.split("RESULT ")[1].splitlines()[0]))

        threads = [threading.Thread(target=one, args=(port,)) for port in self.ports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {
            "requests": sum(result["requests"] for result in results),
            "refused": sum(result["refused"] + result["broken"] for result in results),
            "p99_ms": round(max(result["p99_us"] for result in results) / 1000),
        }

    def cpu(self) -> float:
        return sum(bench.cpu_seconds(process.pid) for process in self.processes)

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def is_ready(port: int) -> bool:
    try:
        return bench.get(port, "readyz") is not None
    except OSError:
        return False


def waiting(database: Database) -> int:
    return database.number("SELECT coalesce(sum(waiting), 0) FROM imprint_bridge.tally")


def drain(database: Database, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while waiting(database) > 0:
        if time.monotonic() > end:
            sys.exit(f"{waiting(database)} events wait")
        time.sleep(0.1)


def totals(database: Database) -> dict:
    sql = """SELECT pg_current_wal_insert_lsn() - '0/0', (SELECT xact_commit FROM pg_stat_database WHERE datname = 'store'),
        (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'store'))"""
    row = database.sql(sql)[0]
    return {"wal_bytes": float(row[0]), "commits": float(row[1]), "statements": float(row[2])}


def server_cpu(database: Database) -> float:
    return bench.cpu_seconds(int((database.data / "postmaster.pid").read_text().split()[0]))


def measure(database: Database, bridges: Bridges, imprint, seconds: int, connections: int = CONNECTIONS) -> dict:
    before, count, cpu, server = totals(database), imprint.requests(), bridges.cpu(), server_cpu(database)
    busy, own, started = bench.busy_seconds(), os.times(), time.monotonic()
    result = bridges.load(seconds, connections)
    took, in_time = time.monotonic() - started, imprint.requests() - count
    everyone = bench.busy_seconds() - busy
    used = bridges.cpu() - cpu + server_cpu(database) - server + sum(os.times()[:4]) - sum(own[:4]) + bench.cpu_seconds(imprint.process.pid)
    drain(database)
    whole, events = time.monotonic() - started, max(1, result["requests"])
    after = totals(database)
    each = {name: round((after[name] - before[name]) / events, 3) for name in before}
    return {
        "accepted_per_second": round(events / took),
        "delivered_per_second": round(in_time / took),
        "through_per_second": round(events / whole),
        "p99_ms": result["p99_ms"],
        "refused": result["refused"],
        **each,
        "group": round(1 / each["commits"], 1) if each["commits"] else 0,
        "bridge_cpu_us": round((bridges.cpu() - cpu) / events * 1e6),
        "others": round(max(0.0, everyone - used) / took, 2),
    }


def row(what: str, figures: dict) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


def world(run, folder: Path, count: int):
    database = Database(folder / "postgres", **(STATEMENTS if run.statements else {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "none"}))
    database.sql("CREATE EXTENSION pg_stat_statements")
    imprint = bench.FakeImprint(folder)
    bridges = Bridges(run.binary, folder, database, count)
    bridges.load(2)
    drain(database)
    return database, imprint, bridges


def end(database: Database, imprint, bridges: Bridges) -> None:
    bridges.close()
    imprint.stop()
    database.stop("immediate")


def new_folder(run):
    folder = tempfile.TemporaryDirectory(prefix="rate-", dir=run.disk, ignore_cleanup_errors=True)
    os.chmod(folder.name, 0o755)
    return folder


def replicas(run) -> None:
    for count in run.count:
        with new_folder(run) as folder:
            parts = world(run, Path(folder), count)
            for _ in range(run.rounds):
                row(f"{count} bridges", measure(*[parts[i] for i in (0, 2, 1)], run.seconds))
            if run.statements:
                show_statements(parts[0])
            pgbench(parts[0], run.seconds)
            end(*parts)


def show_statements(database: Database) -> None:
    sql = "SELECT calls, round(total_exec_time), round(rows::numeric / calls, 1), wal_bytes, regexp_replace(left(query, 150), '\\s+', ' ', 'g') FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'store') ORDER BY total_exec_time DESC LIMIT 24"
    for found in database.sql(sql):
        print("   ", *found, flush=True)


def pgbench(database: Database, seconds: int) -> None:
    """Runs like statements in a table of their own."""
    database.sql(PGBENCH_TABLES)
    processes, before, started = [], totals(database), time.monotonic()
    busy = bench.busy_seconds()
    for name, script in (("accept", ACCEPT), ("deliver", DELIVER)):
        file = database.folder / f"{name}.sql"
        file.write_text(script)
        command = database.command("pgbench", "-n", "-h", str(database.folder), "-U", "bridge", "-T", str(seconds), "-f", str(file), "store")
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **PLANS}))
    outputs = [process.communicate() for process in processes]
    took = time.monotonic() - started
    done = database.sql("SELECT count(*), count(settled_at) FROM b.entry")
    if not done or not int(done[0][0]):
        sys.exit(f"pgbench failed: {outputs}")
    events, settled = map(int, done[0])
    after = totals(database)
    row("pgbench", {
        "accepted_per_second": round(events / took),
        "delivered_per_second": round(settled / took),
        "wal_bytes": round((after["wal_bytes"] - before["wal_bytes"]) / events),
        "busy_cores": round((bench.busy_seconds() - busy) / took, 2),
    })
    database.sql("DROP SCHEMA b CASCADE")


def snapshot(run) -> None:
    """Measures in steps: before, while a session holds a snapshot, and after it."""
    with new_folder(run) as folder:
        database, imprint, bridges = world(run, Path(folder), 1)
        row("without a snapshot", {**measure(database, bridges, imprint, run.seconds), **sizes(database)})
        session = database.session("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM imprint_bridge.lane;")
        held = time.monotonic()
        while time.monotonic() - held < run.minutes * 60:
            row(f"snapshot held for {time.monotonic() - held:.0f} s", {**measure(database, bridges, imprint, run.seconds), **sizes(database)})
        session.stdin.close()
        session.wait()
        for _ in range(2):
            row("after the snapshot", {**measure(database, bridges, imprint, run.seconds), **sizes(database)})
        end(database, imprint, bridges)


def sizes(database: Database) -> dict:
    sql = "SELECT relname, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid) FROM pg_stat_user_tables WHERE schemaname = 'imprint_bridge' AND relname IN ('entry', 'payload', 'lane', 'tally')"
    return {name: f"{int(dead):,} dead, {int(table) >> 20} + {int(index) >> 20} MiB" for name, dead, table, index in database.sql(sql)}


def growth(run) -> None:
    with new_folder(run) as folder:
        database, imprint, bridges = world(run, Path(folder), 2)
        started = time.monotonic()
        while time.monotonic() - started < run.minutes * 60:
            figures = measure(database, bridges, imprint, run.seconds, run.connections)
            row(f"after {time.monotonic() - started:.0f} s", {**figures, **sizes(database)})
        end(database, imprint, bridges)


def main() -> None:
    cells = {cell.__name__: cell for cell in (replicas, snapshot, growth)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=list(cells))
    parser.add_argument("--binary", default=bench.ROOT / "target/dist/imprint-bridge", type=Path)
    parser.add_argument("--count", type=int, nargs="+", default=[1, 2, 4], help="numbers of bridges, for `replicas`")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--minutes", type=float, default=10, help="for `snapshot` and `growth`")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="for `growth`")
    parser.add_argument("--statements", action="store_true", help="count the statements, and list the longest ones")
    parser.add_argument("--disk", type=Path, help="folder of the database; the default is the folder for temporary files")
    run = parser.parse_args()
    for tool in ("nginx", "wrk"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install nginx-light libnginx-mod-http-echo wrk")
    for what in run.what:
        cells[what](run)


if __name__ == "__main__":
    main()
