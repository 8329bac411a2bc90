"""Crowds of hostile clients: stalled bodies, idle connections, and pipelines that nobody reads."""

import contextlib
import os
import resource
import time

from clients import Attack, Sender
from limits import MemoryLimit
from world import KEY, World

MEMORY_LIMIT_MIB = 256
MEMORY_MAX_MIB = 128
BODIES = 2_000
SECONDS = 20
SAMPLE_EVERY = 0.02
DESCRIPTORS = 256
DELIVERIES_MIN = 20
PIPELINES = 60
PIPELINE_CPU_MAX = 0.05
# The time until the buffers of the kernel between the bridge and its clients are full.
FILL_SECONDS = 3
# The bridge closes a connection if its client does not read an answer for 20 s.
ANSWER_DEADLINE = 20
CLOSED_WITHIN = ANSWER_DEADLINE + FILL_SECONDS + 12


def bodies(program, port, request):
    with MemoryLimit(MEMORY_LIMIT_MIB) as limit, World(program, limit=limit.enter) as world, Sender(world) as sender:
        before, _ = world.memory_mib()
        peak, samples = 0, 0
        with Attack(world.ports[port], BODIES, request, reopen=True):
            end = time.monotonic() + SECONDS
            while time.monotonic() < end and world.bridge.poll() is None:
                peak, samples = max(peak, *world.memory_mib()), samples + 1
                time.sleep(SAMPLE_EVERY)
            is_served, text = sender.stop()
        ended = world.bridge.poll()
        in_group = limit.peak_mib()
        figures = f"resident {before} MiB before, {peak} MiB at most ({samples} samples, one each {SAMPLE_EVERY * 1000:.0f} ms)"
        figures += f", {in_group} MiB in the group" if in_group else ""
        figures += f", ended with {ended}" if ended is not None else ""
        holds = ended is None and max(in_group or 0, peak) <= MEMORY_MAX_MIB and is_served
        return holds, limit.how, f"{figures}; {text}"


def bodies_ingress(program):
    body = b" " * 190_000
    head = b"POST /v1/sources/crm/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 200000\r\n\r\n"
    return bodies(program, "ingress", head + body)


def bodies_ops(program):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = b"POST /admin/v1/explain?source=crm HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    return bodies(program, "ops", head + chunk * 3 + b"10000\r\n")


def descriptors(program):
    """The key becomes wrong and right again under the attack, so the bridge must read it twice."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    with contextlib.ExitStack() as stack:
        world = stack.enter_context(World(program, limit=limit))
        for listener, count in (("ingress", 1000), ("ops", 300)):
            stack.enter_context(Attack(world.ports[listener], count, b"", reopen=True))
        time.sleep(FILL_SECONDS)
        sender = stack.enter_context(Sender(world))
        start = world.applied()
        time.sleep(SECONDS / 2)
        with_first_key = world.applied() - start
        world.write("key", "a-wrong-key")
        is_stopped = world.until(lambda: world.metric('destination_state{state="stopped"}') == 1, 40)
        refused = world.applied()
        world.write("key", KEY)
        began = time.monotonic()
        is_delivered = world.until(lambda: world.applied() - refused >= DELIVERIES_MIN, 40)
        seconds = time.monotonic() - began
        with_new_key = world.applied() - refused
        count = len(os.listdir(f"/proc/{world.bridge.pid}/fd"))
        is_served, text = sender.stop()
    figures = f"{count} descriptors; {with_first_key} deliveries with the first key; wrong key noticed: {is_stopped};"
    figures += f" {with_new_key} deliveries within {seconds:.1f} s with the new key; {text}"
    holds = with_first_key >= DELIVERIES_MIN and is_stopped and is_delivered and is_served
    return holds, f"RLIMIT_NOFILE {DESCRIPTORS}, soft and hard", figures


def pipelines(program):
    """Measures while all connections stand: the bridge closes each of them after its deadline."""
    listeners = ("ingress", "ops")
    request = b"GET /v1/x HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    metrics = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(World(program))
        before, _ = world.memory_mib()
        start, cpu = time.monotonic(), world.cpu_seconds()
        for listener, requests in zip(listeners, (request, metrics)):
            stack.enter_context(Attack(world.ports[listener], PIPELINES // 2, requests, reopen=False, reads=False))
        stood = world.until(lambda: world.connections(*listeners) == PIPELINES, 5)
        time.sleep(FILL_SECONDS)
        filled, filled_cpu = time.monotonic(), world.cpu_seconds()
        # The last sample in which all connections stand.
        last, last_cpu = filled, filled_cpu
        while world.connections(*listeners) == PIPELINES and time.monotonic() - start < CLOSED_WITHIN:
            last, last_cpu = time.monotonic(), world.cpu_seconds()
            time.sleep(SAMPLE_EVERY)
        probe = world.probe("/livez")
        _, peak = world.memory_mib()
        closed = world.until(lambda: world.connections(*listeners) == 0, max(0, start + CLOSED_WITHIN - time.monotonic()))
        until_closed = time.monotonic() - start
    share = (last_cpu - filled_cpu) / max(last - filled, 0.01)
    figures = f"{PIPELINES} connections stood: {stood}; {share:.1%} of a core over {last - filled:.0f} s while all stood"
    figures += f" (after {filled_cpu - cpu:.1f} s of CPU time to fill the buffers of the kernel); the first closed after {last - start:.0f} s,"
    figures += f" all closed by the bridge: {closed}, after {until_closed:.0f} s; resident {before} MiB before, {peak} MiB at most; /livez {probe}"
    holds = stood and last - filled >= SECONDS / 2 and share < PIPELINE_CPU_MAX and closed and probe == 200
    return holds, "none", figures
