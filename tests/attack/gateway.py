"""A gateway in front of Imprint has a wrong route and answers 404 to every request. Then somebody repairs it."""

import json
import time

from world import World, event

CUSTOMERS = [f"g{number}" for number in range(20)]
EVENTS_PER_CUSTOMER = 2
SECONDS = 15
ASKED_WITHIN = 60
DELIVERED_WITHIN = 60
ANSWERS = {
    "HTML": {"status": 404, "shape": "html"},
    "JSON route error": {"status": 404, "body": json.dumps({"error": "Not Found", "path": "/v2/customers"})},
}


def post_events(world, first):
    """Posts 40 events: of each customer one with a new email address, and one with a new name."""
    client, ids = world.client(), []
    for revision, field in ((first, "email"), (first + 1, "name")):
        for customer in CUSTOMERS:
            value = f"{customer}.{revision}@example.com" if field == "email" else {"first": f"Ann{'abcdefgh'[revision]}"}
            ids.append(f"{customer}-{revision}")
            status, body = client.post(event(ids[-1], customer, revision, **{field: value}))
            assert status == 202, f"{status} {body}"
    client.close()
    return ids


def has_newest(world, first):
    """Returns whether every customer of the sandbox has the values of both events."""
    found = [world.customer(name) for name in CUSTOMERS]
    wanted = [(f"{name}.{first}@example.com", f"Ann{'abcdefgh'[first + 1]}") for name in CUSTOMERS]
    return [(customer.get("email"), customer.get("first_name")) for customer in found] == wanted


def misrouted(world, answer, first):
    """Returns whether every event was delivered after the repair, and the figures."""
    before = max((call["seq"] for call in world.calls()), default=0)
    world.inject(answer)
    ids = post_events(world, first)
    asked = lambda: {call["customer"] for call in world.calls(before)} >= set(CUSTOMERS)
    is_asked = world.until(asked, ASKED_WITHIN)
    time.sleep(SECONDS)
    calls = len(world.calls(before))
    during = sorted(set(world.statuses(ids).values()))
    world.repair()
    start = time.monotonic()
    open_ids = list(ids)

    def all_delivered():
        statuses = world.statuses(open_ids)
        open_ids[:] = [id for id in open_ids if statuses[id] != "delivered"]
        return not open_ids

    is_delivered = world.until(all_delivered, DELIVERED_WITHIN)
    seconds = time.monotonic() - start
    statuses = list(world.statuses(ids).values())
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses), key=str))
    text = f"{calls} requests got 404, meanwhile {' and '.join(map(str, during))}; {counts}, {statuses.count('ignored')} ignored,"
    text += f" last delivery {seconds:.1f} s after the repair"
    return is_asked and during == ["waiting"] and is_delivered and has_newest(world, first), text


def gateway(program):
    results = []
    for name, answer in ANSWERS.items():
        with World(program) as world:
            for when, first in (("at the first start", 1), ("after deliveries", 3)):
                holds, text = misrouted(world, answer, first)
                results.append((holds, f"{name} {when}: {text}"))
    return all(holds for holds, _ in results), "none", "; ".join(text for _, text in results)
