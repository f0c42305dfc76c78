#!/usr/bin/env python3
"""Counts the program's lines of Rust: without tests, blank lines and comments.

    tests/lines.py            all crates of this checkout, largest first
    tests/lines.py REV        the same of a commit, to compare with
    tests/lines.py --files    every file, largest first

Not counted: `tests`, `testing`, `benches`, `examples` and `fuzz` folders, files `tests.rs`, `testing*.rs` and
`properties.rs`, whatever stands under `#[cfg(test)]`. It relies on rustfmt's indentation.
"""

import collections
import re
import subprocess
import sys

NO_PROGRAM = re.compile(r"(^|/)((tests|testing|benches|examples|fuzz)/|(tests|properties|testing[^/]*)\.rs$)")


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def program_lines(text):
    """How many lines of a file are the program."""
    count = 0
    test = None  # the indentation of an item under #[cfg(test)] while inside it
    comment = False
    for line in text.splitlines():
        code = line.strip()
        indent = len(line) - len(line.lstrip())
        if comment or code.startswith("/*"):
            comment = "*/" not in code
        elif not code or code.startswith("//"):
            pass
        elif test is not None:
            if indent == test and not code.startswith("#[") and code.endswith(("}", ";", ",")):
                test = None
        elif code.startswith("#[cfg(test)]"):
            test = indent
        else:
            count += 1
    return count


def crate(path):
    """The folder of a crate, or of a part of the program on top of them."""
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def main():
    files = "--files" in sys.argv
    revision = next((word for word in sys.argv[1:] if word != "--files"), None)
    names = git("ls-tree", "-r", "--name-only", revision) if revision else git("ls-files")
    lines = collections.Counter()
    for path in names.splitlines():
        if not path.endswith(".rs") or NO_PROGRAM.search(path):
            continue
        text = git("show", f"{revision}:{path}") if revision else open(path, encoding="utf-8").read()
        lines[path if files else crate(path)] += program_lines(text)
    for name, count in lines.most_common():
        print(f"{count:6} {name}")
    print(f"{sum(lines.values()):6} in all")


if __name__ == "__main__":
    main()
