#!/usr/bin/env python3
"""Checks the manifests in deploy/. Prints one line for each rule and a total; exit code 1 if a rule fails.

--self-test  breaks the manifests in memory, one change at a time, and proves that a rule reports each change.
--builtin    does not use kustomize, even if it is installed.
--write      first writes deploy/monitoring/prometheus-rule.yaml from alerts.yaml.
"""

import argparse
import sys

import manifests
import policy
from mutations import MUTATIONS

RULE_FAILED = "the rule could not be evaluated"


def main():
    arguments = argparse.ArgumentParser(description="Checks the manifests in deploy/.")
    arguments.add_argument("--self-test", action="store_true", help="prove that every rule reports a violation")
    arguments.add_argument("--builtin", action="store_true", help="do not use kustomize")
    arguments.add_argument("--write", action="store_true", help="write the PrometheusRule")
    options = arguments.parse_args()
    if options.write:
        manifests.RULE.write_text(manifests.prometheus_rule())

    name, renderer = manifests.renderers()[-1 if options.builtin else 0]
    print(f"rendered by {name}")
    deployments = manifests.load(renderer)
    for note in deployments[0].notes:
        print(f"note: {note}")
    results = list(self_test(deployments) if options.self_test else check(deployments))
    for line, errors in results:
        print(f"{'FAIL' if errors else 'ok':4} {line}")
        for error in errors:
            print(f"       {error}")
    failed = sum(1 for _, errors in results if errors)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def check(deployments):
    for deployment in deployments:
        for title, rule in policy.RULES:
            if deployment.kind in rule.kinds:
                yield f"{deployment.kind}: {title}", errors_of(rule, deployment)


def self_test(deployments):
    titles = {rule: title for title, rule in policy.RULES}
    for rule, change, mutate, kind in MUTATIONS:
        deployment = next(d for d in deployments if d.kind == kind)
        mutant = deployment.copy()
        mutate(mutant)
        # Only new errors count: a rule that already failed, or that raised an exception, does not prove that it
        # detects the change.
        found = {e for e in errors_of(rule, mutant) if not e.startswith(RULE_FAILED)} - set(errors_of(rule, deployment))
        yield f"{kind}: {titles[rule]}: reports {change}", [] if found else ["not reported"]
    tested = {rule for rule, *_ in MUTATIONS}
    yield "every rule has a mutation", [title for title, rule in policy.RULES if rule not in tested]


def errors_of(rule, deployment):
    """Returns the errors that a rule yields. An exception in the rule is an error too."""
    try:
        return list(rule(deployment))
    except (KeyError, IndexError, LookupError, TypeError, AttributeError, ValueError, StopIteration) as error:
        return [f"{RULE_FAILED}: {error!r}"]


if __name__ == "__main__":
    sys.exit(main())
