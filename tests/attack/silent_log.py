"""Standard error of the bridge is a pipe that nobody reads, or whose reader has ended."""

import os
import time

from clients import Sender
from world import ENDED, World

SECONDS = 10
DROPS_WITHIN = 60
DELIVERIES_MIN = 100
DROPPED = "log_lines_dropped_total"


def watched(program, stderr, break_off):
    """Serves a healthy sender. `break_off` happens when the bridge is ready."""
    with World(program, stderr=stderr, LOG__FILTER="trace") as world:
        os.close(stderr)
        break_off()
        with Sender(world, probes=("/livez", "/readyz", "/metrics")) as sender:
            drops = world.until(lambda: (world.metric(DROPPED) or 0) > 0, DROPS_WITHIN)
            first, applied = world.metric(DROPPED), world.applied()
            time.sleep(SECONDS)
            last, applied = world.metric(DROPPED), world.applied() - applied
            is_served, text = sender.stop()
            delivered = world.until(lambda: all_ended(world, len(sender.millis)))
        lives = world.bridge.poll() is None
        code = world.stop()
    grows = drops and last is not None and last > first
    accepted = set(sender.answers) == {202}
    figures = f"dropped lines {first:.0f}, {SECONDS} s later {last:.0f}; {applied} deliveries in these {SECONDS} s, every event delivered: {delivered};"
    figures += f" lives: {lives}, exit code after SIGTERM {code}; {text}"
    return grows and accepted and is_served and applied >= DELIVERIES_MIN and delivered and lives and code == 0, figures


def all_ended(world, events):
    statuses = world.statuses(f"h-{number}" for number in range(1, events + 1))
    return all(status in ENDED for status in statuses.values())


def log(program):
    reader, writer = os.pipe()
    full = watched(program, writer, lambda: None)
    os.close(reader)
    reader, writer = os.pipe()
    closed = watched(program, writer, lambda: os.close(reader))
    return full[0] and closed[0], "none", f"pipe full: {full[1]} – reader ended: {closed[1]}"
