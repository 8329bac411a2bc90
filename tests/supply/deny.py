#!/usr/bin/env python3
"""Runs cargo-deny with .cargo/deny.toml: licences, banned crates and sources, and known vulnerabilities.

Known vulnerabilities need a copy of the RustSec advisory database (a git repository), which this script does not fetch:
give the folder of a fresh copy with --advisories. The script prints the date of the copy, and refuses a copy older than
90 days. Without --advisories, the script checks everything else, and shows with a made-up database that cargo-deny finds
a vulnerable crate.

Installs cargo-deny into target/tools if it is missing.

usage: tests/supply/deny.py [--advisories FOLDER]
"""

import argparse
import datetime
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / ".cargo/deny.toml"
VERSION = "0.20.2"
AGE_MAX = datetime.timedelta(days=90)
# The name under which cargo-deny looks for a copy of the database, in the folder `db-path`.
COPY = "advisory-db-3157b0e258782691"
MADE_UP = """```toml
[advisory]
id = "RUSTSEC-2000-0001"
package = "serde_json"
date = "2000-01-01"

[versions]
patched = []
```

# A made-up vulnerability
"""


def tool():
    """The path of cargo-deny. Installs it if it is missing."""
    found = shutil.which("cargo-deny") or ROOT / "target/tools/bin/cargo-deny"
    if not pathlib.Path(found).exists():
        install = ["cargo", "install", "--quiet", "--locked", "cargo-deny", "--version", VERSION]
        subprocess.run([*install, "--root", str(ROOT / "target/tools")], check=True)
    return str(found)


def deny(rules, *checks):
    command = [tool(), "--exclude-dev", "--offline", "--config", rules, "check", "--hide-inclusion-graph", *checks]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def with_database(database):
    """Checks for vulnerabilities with a copy of the database."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(database, pathlib.Path(folder) / COPY, symlinks=True)
        rules = pathlib.Path(folder) / "deny.toml"
        text = RULES.read_text().replace("[advisories]\n", f'[advisories]\ndb-path = "{folder}"\n')
        rules.write_text(text)
        return deny(rules, "advisories")


def git(folder, *arguments):
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def overdue():
    """The exceptions without a future date on which somebody must look at them again."""
    today = datetime.date.today().isoformat()
    for exception in tomllib.loads(RULES.read_text())["advisories"]["ignore"]:
        date = re.match(r"review by (\d{4}-\d\d-\d\d): ", exception["reason"])
        if date is None or date[1] < today:
            yield f"{exception['id']}: look at this exception again, and give it a new date"


def finds_a_vulnerable_crate():
    """Whether cargo-deny reports a crate of the program that a made-up database lists."""
    with tempfile.TemporaryDirectory() as folder:
        crate = pathlib.Path(folder) / "crates/serde_json"
        crate.mkdir(parents=True)
        (crate / "RUSTSEC-2000-0001.md").write_text(MADE_UP)
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "made up")
        result = with_database(folder)
    return result.returncode != 0 and "RUSTSEC-2000-0001" in result.stderr + result.stdout


def errors(advisories):
    yield from overdue()
    checked = deny(RULES, "licenses", "bans", "sources")
    print(checked.stdout.strip())
    if checked.returncode != 0:
        yield checked.stderr
    if not finds_a_vulnerable_crate():
        yield "cargo-deny does not find the vulnerable crate of a made-up database"
    if advisories is None:
        print("known vulnerabilities: not checked, because --advisories is missing")
        return
    date = datetime.datetime.fromisoformat(git(advisories, "log", "-1", "--format=%cI").strip())
    print(f"known vulnerabilities: the database is of {date.date()}")
    if datetime.datetime.now(datetime.timezone.utc) - date > AGE_MAX:
        yield f"the database is older than {AGE_MAX.days} days: fetch a fresh copy"
    checked = with_database(advisories)
    if checked.returncode != 0:
        yield checked.stdout + checked.stderr


def main():
    parser = argparse.ArgumentParser(description="Checks the crates of the program with cargo-deny.")
    parser.add_argument("--advisories", type=pathlib.Path, help="a copy of the RustSec advisory database")
    found = list(errors(parser.parse_args().advisories))
    for error in found:
        print(error, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
