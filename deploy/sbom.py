#!/usr/bin/env python3
"""What the program is made of, as CycloneDX 1.5: `deploy/sbom.py [FILE]`.

Every crate that is in the program by its default features, on any system; what only builds or tests it is left out. The same sources give the same bytes.
"""
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def checksums():
    """The checksum of each package from crates.io, as Cargo.lock has it."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}


def linked(metadata):
    """The packages that end up in the program. `cargo tree` knows them by feature; `cargo metadata` knows more than that."""
    command = ["cargo", "tree", "--locked", "--edges", "normal", "--target", "all", "--prefix", "none", "--format", "{p}"]
    tree = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    packages = metadata["packages"]
    return {one["id"] for one in packages if (one["name"], f"v{one['version']}") in names}


def component(package, sums, kind="library"):
    name, version = package["name"], package["version"]
    described = {"type": kind, "bom-ref": package["id"], "name": name, "version": version}
    if package["license"]:
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package["source"] == CRATES_IO:
        described["purl"] = f"pkg:cargo/{name}@{version}"
        described["hashes"] = [{"alg": "SHA-256", "content": sums[(name, version)]}]
    return described


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    # Places on this machine are nobody's business, and would differ on the next.
    metadata = json.loads(json.dumps(metadata).replace(str(ROOT), "."))
    found = linked(metadata)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    sums = checksums()
    root = metadata["resolve"]["root"]
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[root], sums, "application")},
        "components": [component(packages[one], sums) for one in sorted(found - {root})],
        "dependencies": [
            {
                "ref": one,
                "dependsOn": sorted({dependency["pkg"] for dependency in nodes[one]["deps"]} & found),
            }
            for one in sorted(found)
        ],
    }
    text = json.dumps(sbom, indent=1) + "\n"
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)


main()
