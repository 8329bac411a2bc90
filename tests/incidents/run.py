#!/usr/bin/env python3
"""Injects incidents into a running bridge, and checks the alerts, the console and the repair (FAULTS N1542).

For each incident, the script starts the bridge and a fake Imprint, sends events, injects the fault, and scrapes /metrics
every 5 seconds. promtool then evaluates deploy/monitoring/alerts.yaml on the scraped values, as Prometheus does with the
interval of deploy/monitoring/service-monitor.yaml: each third scrape. One minute after the fault, the expected alert must
fire, and the overview of the console must name the cause. Then an operator ends the incident without a new deploy: every
accepted event must be delivered, and the alert must end.

No alert but the expected ones and those listed beside them may fire. The incident "source silent" is scaled: one second
counts as 40 seconds, because its alert is about three hours. An event that fails for one customer only has no alert
within the minute on purpose: the bridge repeats the request, and the other customers do not wait.

The script needs root and loop devices for the full disk:

    cargo build && sudo tests/incidents/run.py [--program PROGRAM] [--promtool PROMTOOL] [--only WORD]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import world as worlds
from alerts import TAIL_SECONDS

ROOT = Path(__file__).resolve().parents[2]
# Prometheus scrapes at this multiple of the steps of the script: every 15 s.
THIN = 3
# The bridge works for this time before the fault.
BEFORE_SECONDS = 40.0
AFTER_FIX_SECONDS = 30.0


class Failed(Exception):
    """The error that an incident does not go as it must."""


@dataclass
class Incident:
    """An incident: the fault, the alert, the words of the overview and the repair. Each incident is a new object."""

    name: str
    #: The alert that must fire, or "" if none may fire within the minute.
    alert: str
    words: tuple[str, ...]
    #: The time within which the alert must fire.
    within: float = 60.0
    #: Other alerts that are right too.
    also: tuple[str, ...] = ()
    scale: int = 1
    #: The time after the fault at which an operator reads the overview: after the page, and some seconds to open the overview.
    overview_after: float = 70.0
    settings: dict = field(default_factory=dict)
    needs_disk: bool = False

    def prepare(self, world: worlds.World) -> None:
        """Changes the world before the events begin to count."""

    def inject(self, world: worlds.World) -> None:
        raise NotImplementedError

    def fix(self, world: worlds.World) -> set[str]:
        """Ends the incident. Returns the customers whose events are not delivered on purpose."""
        raise NotImplementedError


class KeyRefused(Incident):
    def inject(self, world):
        world.imprint.key = worlds.OTHER_KEY

    def fix(self, world):
        world.write_secret("key", worlds.OTHER_KEY)
        return set()


class PartnerDown(Incident):
    def inject(self, world):
        world.imprint.stop()

    def fix(self, world):
        world.imprint.start()
        return set()


class PartnerSlow(Incident):
    def __init__(self, *arguments, delay, **more):
        super().__init__(*arguments, **more)
        self.delay = delay

    def inject(self, world):
        world.imprint.delay = self.delay

    def fix(self, world):
        world.imprint.delay = 0.0
        return set()


class PoisonEvent(Incident):
    """One customer whose updates Imprint refuses or fails."""

    def __init__(self, *arguments, status, **more):
        super().__init__(*arguments, **more)
        self.status = status

    def inject(self, world):
        world.imprint.answers["poison"] = self.status
        world.send_one({"customer": "poison", "email": "poison@example.com", "first": "Maren"})

    def fix(self, world):
        if self.status == 400:
            world.command("discard", "--customer", "poison", "--reason", "the value is wrong")
        else:
            world.command("discard", "--state", "waiting", "--customer", "poison", "--reason", "the customer fails")
        return {"poison"}


class FullDisk(Incident):
    def inject(self, world):
        filler = world.store / "filler"
        with filler.open("ab") as file:
            step = 1 << 30
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError:
                    step //= 2

    def fix(self, world):
        (world.store / "filler").unlink()
        return set()


class BrokenMapping(Incident):
    """A deploy of source files: with an error, or with a mapping that refuses every event."""

    def __init__(self, *arguments, source, **more):
        super().__init__(*arguments, **more)
        self.source = source

    def inject(self, world):
        world.write_source(self.source)

    def fix(self, world):
        world.write_source(worlds.SOURCE)
        return set()


class SourceSilent(Incident):
    def prepare(self, world):
        world.per_second = 12.0

    def inject(self, world):
        world.is_sending = False

    def fix(self, world):
        world.is_sending = True
        return set()


class MassChange(Incident):
    def inject(self, world):
        # An import with the same address for everybody.
        world.shape = lambda number: {"customer": f"c{number}", "email": "office@example.com", "first": "Maren"}
        world.per_second = 20.0

    def fix(self, world):
        world.shape = lambda number: {"customer": f"c{number}", "email": f"c{number}@example.com", "first": "Maren"}
        world.per_second = 4.0
        world.command("brakes", "crm", "--open", "1h", "--reason", "the change is wanted")
        world.command("brakes", "crm", "--release", "--reason", "the change is wanted")
        return set()


BROKEN_FILE = worlds.SOURCE.replace('".data.email"', '".data.email | nothing"')
BROKEN_VALUES = worlds.SOURCE.replace('".data.first"', '".data.customer | e164"')


def incidents() -> list[Incident]:
    brake = {"BRAKE__MODE": "on", "BRAKE__CUSTOMERS_MAX": 0}
    return [
        KeyRefused("key refused", "ImprintBridgeStopped", ("Stopped since", "refuses the API key (401)", "key_file")),
        PartnerDown("partner down", "ImprintBridgeDown", ("Imprint is down since", "accepts no connection")),
        PartnerSlow("partner slow, no answer in time", "ImprintBridgeDown", ("Imprint is down since", "time out"), delay=30.0,
                    also=("ImprintBridgeSlow", "ImprintBridgeUnknownOutcomes")),
        PartnerSlow("partner slow, answers after 7 s", "ImprintBridgeSlow", ("Delivering slowly", "Imprint is slow"), delay=7.0),
        PoisonEvent("poison event, refused", "ImprintBridgeParked", ("1 entry", "decision", "400"), status=400),
        PoisonEvent("poison event, fails", "", ("Delivering, but 1 customer fails", "poison waits: Imprint answers with 500"), status=500),
        FullDisk("full disk", "ImprintBridgeStoreFull", ("No events accepted", "is full"), needs_disk=True,
                 also=("ImprintBridgeStoreNearlyFull",)),
        BrokenMapping("mapping broken by a deploy, refuses events", "ImprintBridgeRefusedEvents",
                      ("Refusing the events of crm", "/data/customer"), source=BROKEN_VALUES, also=("ImprintBridgeRefusalRate",)),
        BrokenMapping("mapping broken by a deploy, unusable file", "ImprintBridgeSourcesRefused",
                      ("new source files are not in use since", "crm.toml"), source=BROKEN_FILE),
        SourceSilent("source silent", "ImprintBridgeSourceSilent", ("The last event came 5 min ago",), scale=40, within=12_000,
                     overview_after=315.0, also=("ImprintBridgeWeakened",)),
        MassChange("mass change", "ImprintBridgeMassChangeHeld", ("Holding a mass change", "email"), settings=brake),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Injects incidents and checks the alerts, the console and the repair.")
    parser.add_argument("--program", type=Path, default=ROOT / "target/debug/imprint-bridge", help="program of the bridge")
    promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    parser.add_argument("--promtool", default=promtool, help="promtool of Prometheus")
    parser.add_argument("--only", default="", metavar="WORD", help="only the incidents with this word in their name")
    parser.add_argument("--jobs", type=int, default=4, help="incidents at once")
    options = parser.parse_args()
    if not options.promtool:
        sys.exit("promtool is missing: set PROMTOOL, or run tests/run, which downloads it")
    chosen = [incident for incident in incidents() if options.only in incident.name]
    with tempfile.TemporaryDirectory(prefix="incidents-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(play, incident, number, Path(folder) / str(number), options)
                for number, incident in enumerate(chosen)]
        results = [job.result() for job in jobs]
    failed = sum(not is_right for is_right, _ in results)
    if failed:
        sys.exit(f"    {failed} of {len(results)} incidents failed")
    print(f"    {len(results)} of {len(results)} incidents: the alert, the cause and the repair are right")


def play(incident: Incident, number: int, folder: Path, options) -> tuple[bool, str]:
    folder.mkdir()
    world, lines, disk = None, [], None
    try:
        if incident.needs_disk:
            disk = Disk(folder)
        world = worlds.World(options.program, folder, number, incident.settings)
        faults = run(incident, world, options.promtool, lines)
    except (OSError, ValueError, Failed, subprocess.SubprocessError) as error:
        faults = [str(error) or type(error).__name__, traceback.format_exc(limit=3)]
    finally:
        if world:
            world.close()
        if disk:
            disk.unmount()
    head = f"    {incident.name}: {'FAILED' if faults else 'right'}"
    text = "\n".join([head, *(f"        {line}" for line in [*lines, *faults])])
    print(text, flush=True)
    return not faults, text


class Disk:
    """A small ext4 file system in an image file, for the store of one bridge."""

    def __init__(self, folder: Path) -> None:
        image, self.place = folder / "disk.img", folder / "store"
        self.place.mkdir()
        with image.open("wb") as file:
            file.truncate(1024 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.place], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.place], check=True)


def run(incident: Incident, world: worlds.World, promtool: str, lines: list[str]) -> list[str]:
    """Plays the incident. Returns what is wrong, and adds a report to `lines`."""
    faults: list[str] = []
    incident.prepare(world)
    time.sleep(BEFORE_SECONDS)
    fault_at = time.monotonic()
    first = len(world.timeline.scrapes)
    incident.inject(world)
    time.sleep(max(0.0, fault_at + incident.overview_after - time.monotonic()))
    said = world.overview()
    lines.append(f"after {time.monotonic() - fault_at:.0f} s, the overview says: {said}")
    faults += [f"the overview does not say: {word}" for word in incident.words if word not in said]
    last = len(world.timeline.scrapes)
    skipped = incident.fix(world)
    fixed_at = time.monotonic()
    world.wait_until("everything is delivered after the repair", lambda: is_done(world, skipped), 120)
    took = time.monotonic() - fixed_at
    lines.append(f"everything is delivered {took:.0f} s after the repair; {len(world.refused)} events were refused")
    time.sleep(AFTER_FIX_SECONDS)
    world.ended.set()
    for thread in world.threads:
        thread.join(30)
    deadline = time.monotonic() + 30
    while world.undelivered(skipped) and time.monotonic() < deadline:
        time.sleep(0.5)
    if left := world.undelivered(skipped):
        faults.append(f"{len(left)} accepted events are not delivered: {left[:5]}")
    return faults + judge(incident, world, promtool, (first, last), lines)


def is_done(world: worlds.World, skipped: set[str]) -> bool:
    waits = sum(world.metric(f"{state}_entries") for state in ("waiting", "held", "undecided", "parked"))
    return waits <= 3 and len(world.undelivered(skipped)) <= 3


def judge(incident: Incident, world: worlds.World, promtool: str, span: tuple[int, int], lines: list[str]) -> list[str]:
    first, last = span
    faults, step = [], world.timeline.step * incident.scale
    end = len(world.timeline.scrapes)
    tail = end + int(TAIL_SECONDS // step)
    for thin in (THIN, 1) if incident.scale == 1 else (1,):
        times = [*range(0, end, thin), *range(end // thin * thin + thin, tail, thin * max(1, 12 // incident.scale))]
        firing = world.timeline.firing(promtool, world.folder, times, incident.scale, thin)
        before = set().union(*(firing[time] for time in times if time < first))
        began = {alert: (time - first) * step for time in reversed(times) if first <= time <= last for alert in firing[time]}
        text = ", ".join(f"{alert} after {seconds:.0f} s" for alert, seconds in sorted(began.items(), key=lambda item: item[1]))
        after = [time for time in times if time > last]
        fires = [time for time in after if incident.alert in firing[time]]
        ended = next((time for time in after if not fires or time > fires[-1]), None)
        is_over = "not over" if ended is None else f"over {(ended - last) * step:.0f} s after the repair"
        end_text = is_over if incident.alert in began else "does not fire"
        lines.append(f"scraped every {step * thin:.0f} s: {text or 'no alert'}; {incident.alert or 'an alert'} {end_text}")
        # The deployed interval decides.
        if thin == 1 and incident.scale == 1:
            continue
        if before - set(incident.also):
            faults.append(f"alerts before the fault: {sorted(before)}")
        if incident.alert and began.get(incident.alert, 1e9) > incident.within:
            faults.append(f"{incident.alert} does not fire within {incident.within:.0f} s")
        if others := sorted(set(began) - {incident.alert, *incident.also}):
            faults.append(f"other alerts fire: {others}")
        if incident.alert in began and ended is None:
            faults.append(f"{incident.alert} does not end")
    return faults


if __name__ == "__main__":
    main()
