#!/usr/bin/env python3
"""The pages of the package, with all that they show and link to: `deploy/debian/docs.py FOLDER`.

They keep their places below the root of this tree, so that their links lead on. A link to what is not in the package, like
a source file, becomes plain text. `--check FOLDER` only looks whether every link of a folder leads somewhere.
"""
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent.parent
# Pages, pictures, dashboards, the flow for Node-RED, and the example for containers.
CARRIED = [
    "README.md", "docs/*.md", "docs/*.png", "docs/*.svg", "sinks/*/README.md", "sources/*/README.md", "config.example.toml",
    "deploy/grafana/*.json", "deploy/grafana/provisioning/**", "deploy/node-red/*.json", "deploy/container/compose.yaml",
    "deploy/container/kstar.toml",
]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def carried():
    command = ["git", "ls-files", "--", *(f":(glob){pattern}" for pattern in CARRIED)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


def target(page, link):
    """The file that a link of a page leads to; none where it leads to the web or to the page itself."""
    if re.match(r"[a-z]+:", link) or link.startswith("#"):
        return None
    return (page.parent / unquote(link.split("#")[0])).resolve()


def prose(text):
    """The text in parts: each second one is code, whose brackets are no links."""
    return re.split(r"(^```.*?^```|`[^`\n]*`(?!\]))", text, flags=re.M | re.S)


def pages(folder):
    return sorted(folder.rglob("*.md"))


def copy(folder):
    for name in carried():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place)
    for page in pages(folder):
        def lead(found):
            leads_to = target(page, found[3])
            return found[0] if leads_to is None or leads_to.exists() else found[2]

        page.write_text("".join(
            part if number % 2 else LINK.sub(lead, part) for number, part in enumerate(prose(page.read_text()))
        ))


def check(folder):
    broken = [
        f"{page}: {found[3]}"
        for page in pages(folder)
        for part in prose(page.read_text())[::2]
        for found in LINK.finditer(part)
        if (leads_to := target(page, found[3])) is not None and not leads_to.exists()
    ]
    if broken:
        sys.exit("links that lead nowhere:\n" + "\n".join(broken))


def main():
    if sys.argv[1:2] == ["--check"]:
        check(Path(sys.argv[2]))
        return
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    copy(folder)
    check(folder)


main()
