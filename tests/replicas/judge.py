"""Judges what happened: receipts, the final values at Imprint, overlapping and repeated requests, and the rest of the lanes."""

import http.client
import json
import time
from collections import Counter, defaultdict

from world import ENDED, EVENTS, INGRESS, Load, Request, World, revision_of, value

# A replica notices the loss of its lease when it extends the lease, and the database answers within this time.
NOTICED_WITHIN = 8.0


def judge(world: World, load: Load) -> dict:
    """Returns the figures of a round. Adds each violation to the world."""
    rest = world.wait_for_rest()
    for replica in world.replicas:
        replica.expect_running()
    lost = missing_receipts(world, load)
    if lost:
        world.violate(f"{len(lost)} of {len(load.accepted)} accepted events have no final receipt: {lost[:5]}")
    stale = stale_values(world, load)
    if stale:
        world.violate(f"{len(stale)} values at Imprint are not the newest ones: {stale[:5]}")
    requests = list(world.imprint.requests)
    overlaps = find_overlaps(world, requests)
    expect_empty_tally(world)
    repeats = find_repeats(world, requests)
    return {
        "accepted": len(load.accepted),
        "retries": load.retries,
        "requests": len(requests),
        "lost": len(lost),
        "stale": len(stale),
        "late_overlaps": overlaps,
        "claimed": sum(len(fault.claimed) for fault in world.faults),
        "repeats": repeats,
        "rest_s": round(rest, 1),
    }


def missing_receipts(world: World, load: Load) -> list[str]:
    connection = http.client.HTTPConnection(world.replicas[0].host, INGRESS, timeout=10)
    missing = []
    for event in load.accepted:
        connection.request("GET", f"{EVENTS}/{event}")
        answer = connection.getresponse()
        receipt = json.load(answer)
        if answer.status != 200 or receipt["status"] not in ENDED:
            missing.append(f"{event} {answer.status} {receipt.get('status')}")
    connection.close()
    return missing


def stale_values(world: World, load: Load) -> list[str]:
    stale = []
    for customer, fields in load.newest.items():
        for name, revision in fields.items():
            found = world.imprint.values[customer].get(name)
            if found != value(name, revision):
                stale.append(f"{customer} {name} is {found}, expected {value(name, revision)}")
    return stale


def by_customer(requests: list[Request]) -> dict[str, list[Request]]:
    found = defaultdict(list)
    for request in requests:
        found[request.customer].append(request)
    for own in found.values():
        own.sort(key=lambda request: request.start)
    return found


def find_overlaps(world: World, requests: list[Request]) -> int:
    """Two requests of a customer may overlap only across a lost lease: one of the two comes from a replica that was
    stopped for longer than its lease, which sends a request of its earlier claim when it goes on."""
    allowed = 0
    for customer, own in by_customer(requests).items():
        latest = None
        for request in own:
            if latest and request.start < latest.end:
                pair = (latest, request)
                if any(is_late(world, one, other) for one, other in (pair, pair[::-1])):
                    allowed += 1
                else:
                    places = [f"replica {one.replica} from {one.start - world.started:.3f} to {one.end - world.started:.3f}" for one in pair]
                    world.violate(f"two requests of {customer} were in flight at once: {places}")
            if not latest or request.end > latest.end:
                latest = request
    return allowed


def is_late(world: World, request: Request, other: Request) -> bool:
    """Returns whether the replica of the request sent it under a claim that it had possibly lost to the other replica."""
    stops = [fault for fault in world.faults if fault.replica == request.replica and fault.end < float("inf")]
    return request.replica != other.replica and any(
        fault.start - 1 < request.start < fault.end + NOTICED_WITHIN and request.customer in fault.claimed for fault in stops
    )


def find_repeats(world: World, requests: list[Request]) -> int:
    """A request repeats earlier ones if it contains no value that is newer than theirs. Each fault allows two such
    requests of each customer that the lost replica had claimed: its request was possibly in flight, and the newest
    values follow once more when the doubt about that request has ended."""
    allowed = Counter()
    for fault in world.faults:
        allowed.update({customer: 2 for customer in fault.claimed})
    total = 0
    for customer, own in by_customer(requests).items():
        newest, repeats = {}, []
        for request in own:
            revisions = {name: revision_of(text) for name, text in request.values.items() if name in ("email", "first_name", "last_name", "city")}
            if request.method == "POST" and all(revision <= newest.get(name, 0) for name, revision in revisions.items()):
                repeats.append(request)
            for name, revision in revisions.items():
                newest[name] = max(revision, newest.get(name, 0))
        total += len(repeats)
        if len(repeats) > allowed[customer]:
            places = [f"{request.start - world.started:.3f} replica {request.replica} {request.values}" for request in repeats]
            world.violate(f"{customer} has {len(repeats)} repeated requests, and {allowed[customer]} are allowed: {places[:6]}")
    return total


def expect_empty_tally(world: World) -> None:
    sql = "SELECT coalesce(sum(waiting), 0), coalesce(sum(parked), 0), coalesce(sum(held), 0), coalesce(sum(undecided), 0), coalesce(sum(bytes), 0) FROM imprint_bridge.tally"
    rows = world.database.sql(sql)
    if rows != [["0"] * 5]:
        world.violate(f"the tally of an empty store is {rows}")


