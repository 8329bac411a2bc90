#!/usr/bin/env python3
"""Writes the bill of materials of the program (CycloneDX 1.6), and checks licences and origins.

Needs no network: `cargo metadata` and Cargo.lock have everything. The bill has every crate that the program contains or
that its build runs, without the crates of tests. Fails if a crate has a licence that is not on the list below, comes from
another place than the public registry, or has no checksum in Cargo.lock.

usage: tests/supply/sbom.py OUTPUT [TARGET]

TARGET is the platform of the program, by default the one of the image on x86_64. The features and crates of other platforms
are not in the program.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
# The platform of the image on x86_64.
TARGET = "x86_64-unknown-linux-musl"
# Licences that allow to ship the program without its source. A crate needs one of its alternatives (OR) from this list,
# and every part of an alternative (AND).
LICENCES = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def allowed(expression):
    """Whether a licence expression (SPDX, or the old form with a slash) has an alternative from the list."""
    text = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|[^\s()]+", text)
    joined = []
    for token in tokens:
        if joined and (token == "WITH" or joined[-1].endswith(" WITH")):
            joined[-1] += " " + token
        else:
            joined.append(token)
    python = [
        {"AND": "and", "OR": "or", "(": "(", ")": ")"}.get(token, str(token in LICENCES))
        for token in joined
    ]
    # Only the words True, False, and, or and brackets are left.
    return eval(" ".join(python), {"__builtins__": {}})


def used(metadata):
    """The ids of the crates that the program contains or that its build runs."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    todo, seen = [metadata["resolve"]["root"]], set()
    while todo:
        crate = todo.pop()
        if crate not in seen:
            seen.add(crate)
            todo += dependencies(nodes[crate])
    return seen, nodes


def dependencies(node):
    kinds = lambda dep: {kind["kind"] for kind in dep["dep_kinds"]}
    return sorted(dep["pkg"] for dep in node["deps"] if kinds(dep) - {"dev"})


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def main(output, target=TARGET):
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version=1"]
    command += ["--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    ids, nodes = used(metadata)
    root = metadata["resolve"]["root"]
    components, wrong = [], []
    for id in sorted(ids - {root}, key=lambda id: purl(packages[id])):
        package = packages[id]
        name, licence = purl(package), package["license"] or ""
        checksum = checksums.get((package["name"], package["version"]))
        if not licence or not allowed(licence):
            wrong.append(f"{name}: the licence {licence or '(none)'} is not on the list")
        if package["source"] != REGISTRY:
            wrong.append(f"{name}: comes from {package['source']}")
        if not checksum:
            wrong.append(f"{name}: has no checksum in Cargo.lock")
        components.append(
            {
                "type": "library",
                "bom-ref": name,
                "name": package["name"],
                "version": package["version"],
                "purl": name,
                "licenses": [{"expression": licence.replace("/", " OR ")}],
                "hashes": [{"alg": "SHA-256", "content": checksum}],
            }
        )
    graph = [
        {"ref": purl(packages[id]), "dependsOn": [purl(packages[dep]) for dep in dependencies(nodes[id])]}
        for id in sorted(ids, key=lambda id: purl(packages[id]))
    ]
    # Without a time and a serial number, the same sources give the same bytes.
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": purl(packages[root]),
                "name": packages[root]["name"],
                "version": packages[root]["version"],
                "purl": purl(packages[root]),
            }
        },
        "components": components,
        "dependencies": graph,
    }
    pathlib.Path(output).write_text(json.dumps(bill, indent=1) + "\n")
    print(f"{len(components)} crates, {len(wrong)} errors: {output}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def self_test():
    for expression, expected in [
        ("MIT", True),
        ("MIT/Apache-2.0", True),
        ("GPL-3.0", False),
        ("GPL-3.0 OR MIT", True),
        ("GPL-3.0 AND MIT", False),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", True),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", True),
        ("GPL-3.0 WITH Classpath-exception-2.0", False),
    ]:
        assert allowed(expression) == expected, expression


if __name__ == "__main__":
    self_test()
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
