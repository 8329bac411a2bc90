"""The clients of a bridge under attack: a healthy sender, and hostile clients that keep their connections open."""

import multiprocessing
import resource
import selectors
import socket
import threading
import time

from world import event

REOPEN_PER_SECOND = 100
SEND_EVERY = 0.05
EVENTS_PER_PROBE = 10
HEALTHY_P99_MAX_MS = 250


class Sender(threading.Thread):
    """A healthy sender: one event every 50 ms on one connection, again after a 503. Also asks for probes."""

    def __init__(self, world, probes=("/livez", "/metrics")):
        super().__init__(daemon=True)
        self.world, self.paths, self.stopped = world, probes, False
        self.millis, self.answers, self.probes = [], {}, []
        self.start()

    def run(self):
        client = self.world.client()
        number = 0
        while not self.stopped:
            number += 1
            start = time.monotonic()
            status = None
            while status != 202 and not self.stopped and time.monotonic() - start < 10:
                status, _ = client.post(event(f"h-{number}", "c1", number, email=f"a{number}@example.com"))
                self.answers[status] = self.answers.get(status, 0) + 1
            self.millis.append((time.monotonic() - start) * 1000)
            if number % EVENTS_PER_PROBE == 0:
                start = time.monotonic()
                is_served = all(self.world.probe(path) == 200 for path in self.paths)
                self.probes.append((is_served, (time.monotonic() - start) * 1000))
            time.sleep(SEND_EVERY)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stopped = True
        self.join()

    def stop(self):
        """Returns whether the sender and the probes were served well, and the figures."""
        self.__exit__()
        ordered = sorted(self.millis)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        failed = sum(1 for is_served, _ in self.probes if not is_served)
        slowest = max((millis for _, millis in self.probes), default=0)
        text = f"sender: {len(ordered)} events, p99 {p99:.0f} ms, answers {self.answers}"
        text += f"; probes of {' and '.join(self.paths)}: {len(self.probes)}, failed {failed}, slowest {slowest:.0f} ms"
        return p99 < HEALTHY_P99_MAX_MS and failed == 0 and len(self.probes) > 0, text


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

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stopped.set()
        self.process.join()
