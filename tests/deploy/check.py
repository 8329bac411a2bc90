#!/usr/bin/env python3
"""Checks deploy/: one line a rule, a total, and an exit code that tells.

--self-test spoils the manifests in memory, one thing at a time, and proves that the rule for it notices.
--builtin   does without kustomize even where there is one.
"""

import argparse
import sys

import manifests
import policy
from mutations import MUTATIONS

STUMBLED = "could not be looked at"


def main():
    arguments = argparse.ArgumentParser(description="Checks the manifests under deploy/.")
    arguments.add_argument("--self-test", action="store_true", help="prove that every rule can fail")
    arguments.add_argument("--builtin", action="store_true", help="load without kustomize")
    options = arguments.parse_args()

    name, renderer = manifests.renderers()[-1 if options.builtin else 0]
    print(f"rendered by {name}")
    deployment = manifests.load(renderer)
    for note in deployment.notes:
        print(f"note: {note}")
    results = list(self_test(deployment) if options.self_test else check(deployment))
    for line, faults in results:
        print(f"{'FAIL' if faults else 'ok':4} {line}")
        for fault in faults:
            print(f"       {fault}")
    failed = sum(1 for _, faults in results if faults)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def check(deployment):
    for title, rule in policy.RULES:
        yield title, broken(rule, deployment)


def self_test(deployment):
    titles = {rule: title for title, rule in policy.RULES}
    for rule, what, spoil in MUTATIONS:
        spoilt = deployment.copy()
        spoil(spoilt)
        # New faults only: a rule that is already broken proves nothing by staying broken, and one that stumbles has not
        # looked.
        noticed = {f for f in broken(rule, spoilt) if not f.startswith(STUMBLED)} - set(broken(rule, deployment))
        yield f"{titles[rule]}: notices {what}", [] if noticed else ["it did not"]
    tested = {rule for rule, _, _ in MUTATIONS}
    yield "every rule is put to the test", [title for title, rule in policy.RULES if rule not in tested]


def broken(rule, deployment):
    """The faults; what is so wrong that the rule cannot even look is one of them."""
    try:
        return list(rule(deployment))
    except (KeyError, IndexError, LookupError, TypeError, AttributeError, ValueError, StopIteration) as fault:
        return [f"{STUMBLED}: {fault!r}"]


if __name__ == "__main__":
    sys.exit(main())
