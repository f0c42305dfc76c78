#!/usr/bin/env python3
"""Licences, bans and sources of everything that the program is built from: `tests/dependencies.py`.

It holds `cargo metadata` against deny.toml by the rules that `cargo deny check licenses bans sources` has, and needs nothing
but Python 3.11 and cargo, so that no machine leaves the check out. `--self-test` tries the rules themselves.
"""
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def allowed(expression, licences):
    """Whether an SPDX expression can be met with these licences."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    place = 0

    def alternative():
        nonlocal place
        met = conjunction()
        while place < len(tokens) and tokens[place] == "OR":
            place += 1
            met = conjunction() or met
        return met

    def conjunction():
        nonlocal place
        met = one()
        while place < len(tokens) and tokens[place] == "AND":
            place += 1
            met = one() and met
        return met

    def one():
        nonlocal place
        token = tokens[place]
        place += 1
        if token == "(":
            met = alternative()
            place += 1
            return met
        name = token.removesuffix("+")
        if tokens[place : place + 1] == ["WITH"]:
            # An exception only ever allows more.
            place += 2
        return name in licences

    return alternative()


def mistakes(metadata, rules):
    licences = set(rules["licenses"]["allow"])
    banned = {ban["name"]: ban["reason"] for ban in rules["bans"].get("deny", [])}
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        licence = package["license"]
        if licence is None:
            yield f"{name} names no licence"
        elif not allowed(licence, licences):
            yield f"{name} is under {licence}, which deny.toml does not allow"
        if package["name"] in banned:
            yield f"{name} is banned: {banned[package['name']]}"
        source = package["source"]
        if source is not None and source != CRATES_IO:
            yield f"{name} comes from {source}; only crates.io and this repository are known"
        if source is None:
            for dependency in package["dependencies"]:
                if dependency["req"] == "*" and dependency.get("path") is None:
                    yield f"{name} takes any version of {dependency['name']}"


def self_test():
    licences = {"MIT", "Apache-2.0", "Unicode-3.0"}
    for expression, met in [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT/Apache-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", True),
        ("MPL-2.0 WITH LLVM-exception", False),
    ]:
        assert allowed(expression, licences) == met, expression
    rules = {"licenses": {"allow": ["MIT"]}, "bans": {"deny": [{"name": "bad", "reason": "so"}]}}
    package = {"name": "bad", "version": "1", "license": None, "source": "git+https://x", "dependencies": []}
    ours = {"name": "ours", "version": "1", "license": "MIT", "source": None, "dependencies": [{"name": "any", "req": "*"}]}
    found = list(mistakes({"packages": [package, ours]}, rules))
    assert len(found) == 4, found


def main():
    self_test()
    if sys.argv[1:] == ["--self-test"]:
        return
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    found = sorted(set(mistakes(metadata, rules)))
    for mistake in found:
        print(f"error: {mistake}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"{len(metadata['packages'])} packages: licences, bans and sources are as deny.toml wants them")


main()
