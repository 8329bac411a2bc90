"""A sandbox and a bridge, each in its own process, with everything that a scenario asks them."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = "a-key-for-the-sandbox"
TOKEN = "a-token-of-an-operator"
EVENTS = "/v1/sources/crm/events"
# Below the ports that Linux gives to clients, so that no client of an attack takes the port of a server.
PORTS = (20_000, 29_999)
# A bridge that gets SIGTERM ends within this time.
STOP_WITHIN = 25
ENDED = ("delivered", "superseded")


class BridgeEnded(Exception):
    """The bridge has ended in the middle of a scenario."""


def free_port():
    while True:
        port = random.randint(*PORTS)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def event(number, customer, revision, **fields):
    """Returns an event of the source `crm`."""
    data = {"id": f"P-{customer}", "imprint_customer_id": customer, "revision": revision, **fields}
    return {
        "specversion": "1.0", "id": number, "source": "/crm/us", "type": "customer.changed",
        "time": "2025-02-13T19:08:07.000Z", "data": {"customer": data},
    }


class Client:
    """One connection to a listener, opened again after an error."""

    def __init__(self, port, seconds=5):
        self.port, self.seconds, self.connection = port, seconds, None

    def ask(self, method, path, body=None, **headers):
        """Returns the status and the body, or the name of the error and an empty body."""
        try:
            self.connection = self.connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.seconds)
            self.connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return type(error).__name__, b""

    def post(self, event):
        return self.ask("POST", EVENTS, json.dumps(event), content_type="application/cloudevents+json")

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class World:
    """A sandbox, and a bridge under limits, each in its own process."""

    def __init__(self, program, limit=lambda: None, stderr=None, **settings):
        self.program, self.limit = program, limit
        self.folder = tempfile.mkdtemp(prefix="world-")
        for name, text in (("sandbox-key", KEY), ("key", KEY), ("ann", TOKEN)):
            self.write(name, text)
        self.write("operator.toml", f"[ops]\ntoken_files = [\"{self.path('ann')}\"]\n")
        os.mkdir(self.path("data"))
        self.ports = {name: free_port() for name in ("sandbox", "ingress", "ops")}
        self.environment = self.bridge_environment(settings)
        self.log = open(self.path("log"), "a")
        command = [program, "sandbox", "--listen", f"127.0.0.1:{self.ports['sandbox']}", "--key-file", self.path("sandbox-key")]
        self.sandbox = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.bridge = None
        try:
            self.serve(stderr)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def bridge_environment(self, settings):
        settings = {
            "SOURCES_DIR": f"{ROOT}/config/sources",
            "SCHEMAS_DIR": f"{ROOT}/schemas",
            "INGRESS__LISTEN": f"127.0.0.1:{self.ports['ingress']}",
            "OPS__LISTEN": f"127.0.0.1:{self.ports['ops']}",
            "OUTBOX__URL": f"sqlite:{self.path('data/outbox.db')}",
            "IMPRINT__BASE_URL": f"http://127.0.0.1:{self.ports['sandbox']}",
            "IMPRINT__ENVIRONMENT": "local",
            "IMPRINT__KEY_FILE": self.path("key"),
            "IMPRINT__RATE_PER_SECOND": "0",
            "SHUTDOWN__LAG": "0",
            "LOG__FILTER": "info,actix_http=off",
            **settings,
        }
        return {f"IMPRINT_BRIDGE__{name}": value for name, value in settings.items()}

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name + ".new"), "w") as file:
            file.write(text)
        os.rename(self.path(name + ".new"), self.path(name))

    # The processes.

    def launch(self, stderr):
        command = [self.program, "serve", "--config", self.path("operator.toml")]
        self.bridge = subprocess.Popen(command, env=self.environment, stdout=stderr, stderr=stderr, preexec_fn=self.limit)

    def serve(self, stderr=None):
        """Starts the bridge and waits until it is ready."""
        self.launch(stderr or self.log)
        if not self.until(lambda: self.probe("/readyz") == 200, 60):
            raise BridgeEnded(f"the bridge is not ready, see {self.path('log')}")

    def refused_start(self):
        """Starts a bridge that may refuse to start. Returns its log if it refuses, otherwise None with a ready bridge."""
        with open(self.path("refused-log"), "w+") as log:
            self.launch(log)
            end = time.monotonic() + 60
            while self.bridge.poll() is None and time.monotonic() < end:
                if self.probe("/readyz") == 200:
                    return None
                time.sleep(0.05)
            log.seek(0)
            return log.read()

    def stop(self):
        """Ends the bridge in order, and returns its exit code, or None if it does not end in time."""
        self.bridge.send_signal(signal.SIGTERM)
        try:
            return self.bridge.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        self.bridge.kill()
        self.bridge.wait()

    def run(self, *arguments):
        """Runs a command of the program with the settings of the bridge. Returns the exit code and the output."""
        command = [self.program, *arguments]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def close(self):
        for process in (self.bridge, self.sandbox):
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (self.bridge, self.sandbox):
            try:
                if process:
                    process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()

    def until(self, condition, seconds=30):
        """Returns whether the condition holds within the time."""
        end = time.monotonic() + seconds
        while not condition():
            if self.bridge.poll() is not None:
                raise BridgeEnded(f"the bridge ended with {self.bridge.returncode}, see {self.path('log')}")
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    # The bridge from outside.

    def client(self, listener="ingress", seconds=5):
        return Client(self.ports[listener], seconds)

    def ask(self, listener, method, path, body=None):
        client = self.client(listener, 2)
        answer = client.ask(method, path, body)
        client.close()
        return answer

    def probe(self, path):
        return self.ask("ops", "GET", path)[0]

    def metric(self, name):
        page = self.ask("ops", "GET", "/metrics")[1].decode()
        values = [line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith(f"imprint_bridge_{name} ")]
        return float(values[0]) if values else None

    def statuses(self, events):
        """Returns the status of each event, and None for an event that the bridge does not know."""
        client = self.client()
        found = {}
        for event in events:
            status, body = client.ask("GET", f"{EVENTS}/{event}")
            found[event] = json.loads(body)["status"] if status == 200 else None if status == 404 else f"answer {status}"
        client.close()
        return found

    def memory_mib(self):
        """Returns the resident memory now, and the most that it ever was."""
        with open(f"/proc/{self.bridge.pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        # Both lines are missing if the process has ended.
        now, peak = (int(fields.get(name, "0").split()[0]) >> 10 for name in ("VmRSS", "VmHWM"))
        return now, max(now, peak)

    def cpu_seconds(self):
        with open(f"/proc/{self.bridge.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connections(self, *listeners):
        """Returns how many connections to the listeners the kernel has as established, on the side of the bridge."""
        ends = tuple(f":{self.ports[listener]:04X}" for listener in listeners)
        with open("/proc/net/tcp") as file:
            rows = (line.split() for line in file)
            return sum(1 for row in rows if row[1].endswith(ends) and row[3] == "01")

    # The sandbox.

    def inject(self, action):
        """Lets the sandbox do this with every call, until `repair`."""
        status, body = self.ask("sandbox", "POST", "/sandbox/faults", json.dumps({"action": action}))
        assert status == 204, body

    def repair(self):
        status, body = self.ask("sandbox", "DELETE", "/sandbox/faults")
        assert status == 204, body

    def applied(self):
        """Returns the number of updates that changed a customer of the sandbox."""
        return json.loads(self.ask("sandbox", "GET", "/sandbox/stats")[1])["applied"]

    def calls(self, after=0):
        """Returns the calls that the sandbox has received after the call with this number."""
        page = json.loads(self.ask("sandbox", "GET", f"/sandbox/ledger?after={after}&limit=10000")[1])
        return page["entries"]

    def customer(self, name):
        status, body = self.ask("sandbox", "GET", f"/sandbox/customers/{name}")
        return json.loads(body)["customer"] if status == 200 else {}
