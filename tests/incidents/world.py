"""A bridge, a fake Imprint, a source that sends events all the time, and scrapes of /metrics at a constant rate."""

import html
import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

from alerts import Timeline

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-the-operator-on-call"
KEY, OTHER_KEY = "the-key-of-imprint", "another-key-of-imprint"
STEP = 5.0
EVENTS = "/v1/sources/crm/events"
SOURCE = """
[auth]
kind = "none"
[events."customer.changed"]
schema = "crm/customer.json"
version = ".data.revision"
version_domain = "sequence"
customer.imprint_id = ".data.customer"
[events."customer.changed".update]
email = ".data.email"
first_name = ".data.first"
"""


class Imprint:
    """A fake Imprint. The attributes are the faults."""

    def __init__(self, host: str) -> None:
        self.host, self.key, self.delay, self.is_down = host, KEY, 0.0, False
        self.answers: dict[str, int] = {}
        self.applied: dict[str, dict] = {}
        self.server: http.server.ThreadingHTTPServer | None = None
        self.start()

    def start(self) -> None:
        imprint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                imprint.answer(self)

            do_PATCH = do_PUT = do_POST = do_GET

            def log_message(self, *_) -> None:
                pass

        self.is_down = False
        http.server.ThreadingHTTPServer.request_queue_size = 256
        self.server = http.server.ThreadingHTTPServer((self.host, 9400), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Ends all connections and accepts no further one."""
        self.is_down = True
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        if self.delay:
            time.sleep(self.delay)
        if self.is_down:
            request.close_connection = True
            return
        customer = urllib.parse.urlsplit(request.path).path.rsplit("/", 1)[1]
        status, answer = 200, {"id": customer}
        if self.key not in request.headers.get("authorization", ""):
            status, answer = 401, {"type": "UNAUTHENTICATED", "message": "wrong key"}
        elif customer in self.answers:
            status, answer = self.answers[customer], {"type": "INVALID", "param": "email", "message": "wrong email"}
        elif request.command != "GET":
            self.applied.setdefault(customer, {}).update(json.loads(body or b"{}"))
            answer |= self.applied[customer]
        text = json.dumps(answer).encode()
        try:
            request.send_response(status)
            request.send_header("content-type", "application/json")
            request.send_header("content-length", str(len(text)))
            request.end_headers()
            request.wfile.write(text)
        except OSError:
            # The bridge has given up this request.
            request.close_connection = True


class World:
    """A bridge with everything around it."""

    def __init__(self, program: Path, folder: Path, number: int, settings: dict | None = None) -> None:
        self.folder, self.host = folder, f"127.69.{os.getpid() % 250}.{number + 1}"
        self.store = folder / "store"
        self.store.mkdir(exist_ok=True)
        (folder / "sources").mkdir()
        (folder / "schemas/crm").mkdir(parents=True)
        (folder / "schemas/crm/customer.json").write_text('{"type": "object"}')
        self.write_source(SOURCE)
        self.write_secret("key", KEY)
        self.write_secret("ann", TOKEN)
        self.program, self.settings = program, settings or {}
        self.imprint = Imprint(self.host)
        self.process: subprocess.Popen | None = None
        self.numbers, self.per_second, self.is_sending = 0, 4.0, True
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.shape = lambda number: {"customer": f"c{number}", "email": f"c{number}@example.com", "first": "Maren"}
        self.start()
        self.timeline = Timeline(STEP, time.time())
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self.scrape, self.send)]
        for thread in self.threads:
            thread.start()

    def start(self) -> None:
        folder = self.folder
        settings = {
            "SOURCES_DIR": folder / "sources", "SCHEMAS_DIR": folder / "schemas", "INGRESS__LISTEN": f"{self.host}:8080",
            "INGRESS__WORKERS": 1, "OPS__LISTEN": f"{self.host}:9090", "OPS__TOKEN_FILES": folder / "ann",
            "OUTBOX__URL": f"sqlite:{self.store}/outbox.db", "IMPRINT__BASE_URL": f"http://{self.host}:9400",
            "IMPRINT__ENVIRONMENT": "local", "IMPRINT__KEY_FILE": folder / "key", "SHUTDOWN__LAG": "0", **self.settings,
        }
        environment = {f"IMPRINT_BRIDGE__{name}": str(value) for name, value in settings.items()}
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen([self.program, "serve"], env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while self.get("/readyz") is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"the bridge does not start, see {folder}/log")
            time.sleep(0.1)

    def write_secret(self, name: str, text: str) -> None:
        new = self.folder / f".{name}"
        new.write_text(text)
        new.chmod(0o600)
        new.rename(self.folder / name)

    def write_source(self, text: str) -> None:
        new = self.folder / "sources/.crm.new"
        new.write_text(text)
        new.rename(self.folder / "sources/crm.toml")

    def scrape(self) -> None:
        began = time.monotonic()
        while not self.ended.is_set():
            self.timeline.add(self.get("/metrics"))
            self.ended.wait(max(0.0, began + len(self.timeline.scrapes) * STEP - time.monotonic()))

    def send(self) -> None:
        while not self.ended.wait(1 / self.per_second):
            if self.is_sending:
                self.send_one(self.shape(self.numbers))

    def send_one(self, data: dict) -> None:
        self.numbers += 1
        event = f"e{self.numbers}"
        body = {"specversion": "1.0", "id": event, "source": "/crm", "type": "customer.changed", "data": {"revision": self.numbers, **data}}
        try:
            connection = http.client.HTTPConnection(self.host, 8080, timeout=20)
            connection.request("POST", EVENTS, json.dumps(body), {"content-type": "application/cloudevents+json"})
            status = connection.getresponse().status
            connection.close()
        except OSError:
            status = 0
        (self.accepted if status == 202 else self.refused).append(data["customer"])

    def get(self, path: str, headers: dict | None = None) -> str | None:
        connection = http.client.HTTPConnection(self.host, 9090, timeout=4)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
            return text if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def overview(self) -> str:
        """Logs in to the console as a browser does, and returns the headline and the sentence of the overview."""
        connection = http.client.HTTPConnection(self.host, 9090, timeout=10)
        form = urllib.parse.urlencode({"token": TOKEN, "next": "/"})
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": f"http://{self.host}:9090"}
        connection.request("POST", "/login", form, headers)
        answer = connection.getresponse()
        answer.read()
        cookie = (answer.getheader("set-cookie") or "").split(";")[0]
        page = self.get("/", {"cookie": cookie}) or ""
        state = re.search(r'<section class="state.*?</section>', page, re.S)
        needs = re.search(r'<h2 id="needs">.*?</section>', page, re.S)
        parts = [part.group(0) for part in (state, needs) if part]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", " ".join(parts))).split())

    def command(self, *arguments: str) -> str:
        """Runs a command of an operator."""
        access = ["--ops", f"http://{self.host}:9090", "--token-file", str(self.folder / "ann")]
        done = subprocess.run([self.program, *arguments, *access], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def metric(self, series: str) -> float:
        for line in (self.get("/metrics") or "").splitlines():
            if line.startswith(f"imprint_bridge_{series} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def wait_until(self, what: str, condition, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise OSError(f"timed out: {what}")
            time.sleep(0.2)

    def undelivered(self, except_for: set[str]) -> list[str]:
        return [customer for customer in self.accepted if customer not in self.imprint.applied and customer not in except_for]

    def close(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(30)
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if not self.imprint.is_down:
            self.imprint.stop()
