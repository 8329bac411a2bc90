#!/usr/bin/env python3
"""Calls both listeners of a running bridge as their OpenAPI documents describe them, with requests that schemathesis invents.

    cargo build && tests/openapi/run.py [--examples 40] [--seed 1] [--binary target/debug/imprint-bridge]

Fails if an answer has a status of 500 or above, or if an answer differs from the document: another status, content type,
header or body. The requests for the operators have a token of all roles, so that they also pause the bridge, replay entries
and erase customers. Before the run, the bridge gets events that are delivered, parked and held, so that lists have entries.
"""

import argparse
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EVENT = ROOT / "config/sources/crm/customer-changed.event.json"
READY_WITHIN = 30.0
# Schemathesis sends a bad request and demands that the server refuses it, and the other way round. A server can be stricter
# than its document (a digest that does not match) or more tolerant (a member that it ignores), so these demands do not hold.
NO_PROOF = "negative_data_rejection,positive_data_acceptance,missing_required_header,unsupported_method,ignored_auth"
# With so many events, each list has entries in each state.
CUSTOMERS = 12


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url: str, body: bytes | None = None, headers: dict | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


class Bridge:
    """A bridge and a sandbox, which deliver a few events."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.folder = folder
        self.ingress, self.ops, self.imprint = free_port(), free_port(), free_port()
        self.token = secrets.token_urlsafe(32)
        self.write("key", "sk_test_key_of_openapi")
        self.write("operators/olivia", self.token)
        self.processes: list[subprocess.Popen] = []
        settings = {
            "IMPRINT_BRIDGE__PROFILE": "local",
            "IMPRINT_BRIDGE__SOURCES_DIR": f"{ROOT}/config/sources",
            "IMPRINT_BRIDGE__SCHEMAS_DIR": f"{ROOT}/schemas",
            "IMPRINT_BRIDGE__INGRESS__LISTEN": f"127.0.0.1:{self.ingress}",
            "IMPRINT_BRIDGE__OPS__LISTEN": f"127.0.0.1:{self.ops}",
            "IMPRINT_BRIDGE__OPS__TOKEN_FILES": f"{folder}/operators/olivia",
            "IMPRINT_BRIDGE__OUTBOX__URL": f"sqlite:{folder}/outbox.db",
            "IMPRINT_BRIDGE__IMPRINT__BASE_URL": f"http://127.0.0.1:{self.imprint}",
            "IMPRINT_BRIDGE__IMPRINT__ENVIRONMENT": "local",
            "IMPRINT_BRIDGE__IMPRINT__KEY_FILE": f"{folder}/key",
        }
        self.start([program, "sandbox", "--listen", f"127.0.0.1:{self.imprint}", "--key-file", folder / "key"], {})
        self.start([program, "serve"], settings)

    def write(self, name: str, text: str) -> None:
        place = self.folder / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text + "\n")
        place.chmod(0o600)

    def start(self, command: list, settings: dict) -> None:
        log = (self.folder / f"{command[1]}.log").open("wb")
        environment = {"PATH": os.environ["PATH"], **settings}
        self.processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder))

    def log(self) -> str:
        return (self.folder / "serve.log").read_text(errors="replace")

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            try:
                if fetch(f"http://127.0.0.1:{self.ops}/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"the bridge is not ready after {READY_WITHIN:.0f} s:\n{self.log()}")

    def seed(self) -> None:
        """Sends events. Imprint refuses every third customer, so that entries are parked."""
        event = json.loads(EVENT.read_text())
        ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(CUSTOMERS)]
        refused = {"status": 422, "shape": "flat", "type": "INVALID_REQUEST", "param": "state"}
        faults = [{"customer": name, "action": refused} for name in ids[::3]]
        own = {"content-type": "application/json", "authorization": "Bearer sk_test_key_of_openapi"}
        status, answer = fetch(f"http://127.0.0.1:{self.imprint}/sandbox/faults", json.dumps(faults).encode(), own)
        if status >= 300:
            sys.exit(f"the sandbox refuses the faults with {status}: {answer.decode()}")
        for number, name in enumerate(ids):
            event["id"] = f"seed-{number}"
            event["data"]["customer"] |= {"id": f"crm-{number}", "imprint_customer_id": name, "revision": 1}
            body, kind = json.dumps(event).encode(), {"content-type": "application/cloudevents+json"}
            status, answer = fetch(f"http://127.0.0.1:{self.ingress}/v1/sources/crm/events", body, kind)
            if status != 202:
                sys.exit(f"the bridge refuses the event {event['id']} with {status}: {answer.decode()}")
        deadline = time.monotonic() + READY_WITHIN
        while len(self.entries("delivered")) < CUSTOMERS * 2 // 3 or len(self.entries("parked")) < CUSTOMERS // 3:
            if time.monotonic() > deadline:
                sys.exit(f"the events do not end:\n{self.log()}")
            time.sleep(0.2)

    def entries(self, state: str) -> list:
        own = {"authorization": f"Bearer {self.token}"}
        status, answer = fetch(f"http://127.0.0.1:{self.ops}/admin/v1/entries?state={state}", headers=own)
        return json.loads(answer)["entries"] if status == 200 else []

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=30)


# Without a token, a few requests would be enough to block the address, and the other requests would prove nothing.
SETTINGS = """
[generation]
with-security-parameters = false
[parameters]
"path.source" = "crm"
"path.id" = "seed-1"
"path.number" = 7
"""


def schemathesis(bridge: Bridge, port: int, options: list[str], report: Path) -> bool:
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"http://127.0.0.1:{port}/v1/openapi.json"]
    (bridge.folder / "schemathesis.toml").write_text(SETTINGS)
    command += ["--exclude-checks", NO_PROOF, "--report", "ndjson", "--report-ndjson-path", report, "--no-color", *options]
    ended = subprocess.run(command, cwd=bridge.folder)
    if bridge.processes[-1].poll() is not None:
        sys.exit(f"the bridge ended with {bridge.processes[-1].returncode}:\n{bridge.log()[-4000:]}")
    return ended.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=40, help="requests of each kind for each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/debug/imprint-bridge")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imprint-openapi-") as folder:
        bridge = Bridge(chosen.binary.resolve(), Path(folder))
        try:
            bridge.wait_until_ready()
            bridge.seed()
            options = ["--max-examples", str(chosen.examples), "--seed", str(chosen.seed)]
            events = schemathesis(bridge, bridge.ingress, options, Path(folder) / "events.ndjson")
            token = ["--header", f"Authorization: Bearer {bridge.token}"]
            operators = schemathesis(bridge, bridge.ops, options + token, Path(folder) / "operators.ndjson")
        finally:
            bridge.close()
    if not (events and operators):
        sys.exit("an answer differs from the OpenAPI document; see above")


main()
