"""The file of the store is deleted, replaced or renamed while senders post. Then an operator restores it, or the bridge ends first."""

import os
import re
import shutil
import threading
import time

from world import ENDED, World, event

SENDERS = 4
CUSTOMERS_PER_SENDER = 5
POST_EVERY = 0.005
BEFORE_SECONDS = 3
# The bridge truncates its log every 25 s if entries have ended.
LONG_SECONDS = 30
AFTER_SECONDS = 4
# No post is accepted, and the bridge is not ready, this time after the damage.
NOTICED_WITHIN = 1.0
DELIVERED_WITHIN = 120


class Poster(threading.Thread):
    """A sender that posts without a break, and notes every answer with its time."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world, self.number, self.stopped = world, number, False
        self.answers = []
        self.start()

    def run(self):
        client = self.world.client()
        count = 0
        while not self.stopped:
            count += 1
            customer = f"s{self.number}-{count % CUSTOMERS_PER_SENDER}"
            id = f"{customer}-{count}"
            status, _ = client.post(event(id, customer, count, email=f"{customer}.{count}@example.com"))
            self.answers.append((time.monotonic(), id, customer, count, status))
            time.sleep(POST_EVERY)


class Watcher(threading.Thread):
    """Asks for /readyz and /livez without a break, and notes every answer with its time."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.stopped = world, False
        self.answers = []
        self.start()

    def run(self):
        client = self.world.client("ops")
        while not self.stopped:
            ready, live = (client.ask("GET", path)[0] for path in ("/readyz", "/livez"))
            self.answers.append((time.monotonic(), ready, live))
            time.sleep(0.02)


def delete(world):
    os.remove(world.path("data/outbox.db"))


def replace_by_old_copy(world):
    os.rename(world.path("data/old"), world.path("data/outbox.db"))


def replace(world):
    shutil.copy(world.path("data/outbox.db"), world.path("data/copy"))
    os.rename(world.path("data/copy"), world.path("data/outbox.db"))


def rename_folder(world):
    os.rename(world.path("data"), world.path("away"))


def damage_under_load(world, damage, seconds):
    """Returns whether the bridge noticed the damage in time, the accepted events as rows of `Poster`, and the figures."""
    shutil.copy(world.path("data/outbox.db"), world.path("data/old"))
    threads = [Poster(world, number) for number in range(SENDERS)] + [Watcher(world)]
    time.sleep(seconds)
    damage(world)
    damaged = time.monotonic()
    time.sleep(AFTER_SECONDS)
    for thread in threads:
        thread.stopped = True
    for thread in threads:
        thread.join()
    posts = sorted(row for poster in threads[:-1] for row in poster.answers)
    accepted = [row for row in posts if row[4] == 202]
    after = [row for row in posts if row[0] > damaged]
    late = [row for row in after if row[0] > damaged + NOTICED_WITHIN]
    probes = [row for row in threads[-1].answers if row[0] > damaged]
    first_503 = next((when - damaged for when, ready, _ in probes if ready == 503), None)
    noticed = first_503 is not None and first_503 <= NOTICED_WITHIN
    noticed = noticed and all(ready == 503 for when, ready, _ in probes if when > damaged + NOTICED_WITHIN)
    lives = all(live == 200 for _, _, live in threads[-1].answers)
    refused = len(late) > 0 and {row[4] for row in late} == {503}
    too_late = [row[0] - damaged for row in after if row[4] == 202]
    text = f"{len(accepted)} events accepted, {len(too_late)} of them after the damage"
    text += f" (the last {max(too_late) * 1000:.0f} ms after it);" if too_late else ";"
    text += f" {len(late)} posts after {NOTICED_WITHIN:.0f} s got {sorted({row[4] for row in late}, key=str)};"
    text += f" /readyz 503 after {'ever' if first_503 is None else f'{first_503 * 1000:.0f} ms'}; /livez {'200' if lives else 'failed'}"
    return noticed and lives and refused, accepted, text


def rescue(world):
    """Does what the README says: a backup before the bridge stops, then a restore of the copy."""
    code, output = world.run("store", "backup", "rescue", "--ops", f"http://127.0.0.1:{world.ports['ops']}", "--token-file", world.path("ann"))
    if code != 0:
        return f"the backup failed: {output}"
    code = world.stop()
    if code != 0:
        return f"the bridge ended with {code}"
    code, output = world.run("store", "restore", world.path("data/rescue"), "--config", world.path("operator.toml"))
    if code != 0:
        return f"the restore failed: {output}"
    world.serve()
    return None


def rename_back(world):
    os.rename(world.path("away"), world.path("data"))
    if not world.until(lambda: world.probe("/readyz") == 200, 10):
        return "the bridge does not get ready again"
    code = world.stop()
    if code != 0:
        return f"the bridge ended with {code}"
    world.serve()
    return None


def kill(world):
    """The bridge dies before a rescue. Its next start must name the cause, unless it has every event."""
    world.kill()
    return refusal(world)


def stop(world):
    """The bridge stops in order before a rescue. Its next start must name the cause, unless it has every event."""
    code = world.stop()
    return refusal(world) if code == 0 else f"the bridge ended with {code}"


def kill_and_rename_back(world):
    world.kill()
    os.rename(world.path("away"), world.path("data"))
    return refusal(world)


def refusal(world):
    log = world.refused_start()
    if log is None:
        return None
    if world.bridge.poll() is None:
        return f"the start does not end, see {world.path('refused-log')}"
    causes = re.findall(r"the (?:store|log) \S+ (is missing, but its log|belongs to another (?:file|store))", log)
    return Named(causes[0]) if causes and world.bridge.returncode == 1 else f"the start ended with {world.bridge.returncode}: {log.splitlines()[-1:]}"


class Named(str):
    """The cause that a refused start names."""


def judge(world, accepted):
    """Returns whether no accepted event is missing, and each customer gets its newest value."""
    statuses = world.statuses(row[1] for row in accepted)
    missing = sum(status is None for status in statuses.values())
    unreadable = sum(str(status).startswith("answer") for status in statuses.values())
    world.repair()
    open_ids = [row[1] for row in accepted]

    def all_ended():
        # Only the events that have not ended are asked about again.
        open_ids[:] = [id for id, status in world.statuses(open_ids).items() if status not in ENDED]
        return not open_ids

    ended = missing + unreadable == 0 and world.until(all_ended, DELIVERED_WITHIN)
    newest = {}
    for _, _, customer, count, _ in accepted:
        newest[customer] = max(count, newest.get(customer, 0))
    # A post without an answer 202 is possibly stored too, so a newer value is right.
    stale = sum(delivered_count(world, customer) < count for customer, count in newest.items())
    text = f"after the restart {missing} of {len(accepted)} missing and {unreadable} unreadable, all delivered: {ended}, {stale} of {len(newest)} customers with an old value"
    return ended and stale == 0, text


def delivered_count(world, customer):
    return int(re.sub(r".*\.(\d+)@.*", r"\1", world.customer(customer).get("email") or "0"))


# The damage, how it ends, whether Imprint answers before the damage, and how long the senders post before the damage.
NOW_CASES = {
    "deleted, backup and restore": (delete, rescue, False, BEFORE_SECONDS),
    "deleted, killed without a backup": (delete, kill, False, BEFORE_SECONDS),
    "replaced by a copy, backup and restore": (replace, rescue, False, BEFORE_SECONDS),
    "replaced by a copy, killed without a backup": (replace, kill, False, BEFORE_SECONDS),
    "folder renamed and renamed back": (rename_folder, rename_back, False, BEFORE_SECONDS),
    "folder renamed, killed, renamed back": (rename_folder, kill_and_rename_back, False, BEFORE_SECONDS),
}
OLD_COPY_CASES = {
    "restored from a backup": (replace_by_old_copy, rescue, True, LONG_SECONDS),
    "killed without a backup": (replace_by_old_copy, kill, True, LONG_SECONDS),
    "stopped without a backup": (replace_by_old_copy, stop, True, LONG_SECONDS),
}


def play(program, damage, recover, is_delivering, seconds):
    with World(program) as world:
        if not is_delivering:
            # Every event waits, so only the store has it.
            world.inject({"status": 503})
        noticed, accepted, text = damage_under_load(world, damage, seconds)
        result = recover(world)
        if isinstance(result, Named):
            return noticed, f'{text}; the start is refused: "{result}"'
        if result:
            return False, f"{text}; {result}"
        holds, end = judge(world, accepted)
        return noticed and holds, f"{text}; {end}"


def play_all(program, cases):
    results = {name: play(program, *case) for name, case in cases.items()}
    text = "; ".join(f"{name}: {text}" for name, (_, text) in results.items())
    return all(holds for holds, _ in results.values()), "none", text


def store_file(program):
    return play_all(program, NOW_CASES)


def old_copy(program):
    """The copy is from the start of the load, so the bridge has written its log back since."""
    return play_all(program, OLD_COPY_CASES)
