#!/usr/bin/env python3
"""Draws what tmux has on its screen: tmux capture-pane -e -p -t PANE | docs/terminal.py light|dark > page.svg

Colours are those of a common terminal's palette, on its light or its dark ground.
"""

import re
import sys
from xml.sax.saxutils import escape

GROUNDS = {
    "light": {"ground": "#ffffff", "text": "#24292f", "faint": "#7d848c", 1: "#cf222e", 2: "#1a7f37", 3: "#9a6700", 4: "#0969da", 5: "#8250df", 6: "#1b7c83"},
    "dark": {"ground": "#0d1117", "text": "#d5dbe1", "faint": "#7a828c", 1: "#ff7b72", 2: "#3fb950", 3: "#d29922", 4: "#58a6ff", 5: "#bc8cff", 6: "#39c5cf"},
}
WIDTH, HEIGHT, SIZE = 8.4, 17, 14


def runs(line, style):
    """The pieces of a line with their styles; a style goes on into the next line."""
    column = 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        sequence = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if not sequence:
            if part:
                yield column, part, dict(style)
            column += len(part)
            continue
        codes = [int(code or 0) for code in sequence[1].split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                style.clear()
            elif code == 1:
                style["bold"] = True
            elif code == 2:
                style["faint"] = True
            elif code == 22:
                style.pop("bold", None)
                style.pop("faint", None)
            elif code == 38 and codes[:1] == [5]:
                style["colour"] = codes[1]
                codes = codes[2:]
            elif 30 <= code <= 37:
                style["colour"] = code - 30
            elif code == 39:
                style.pop("colour", None)


def draw(lines, ground):
    columns = max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines)
    width, height = round(columns * WIDTH + 24), len(lines) * HEIGHT + 20
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    yield f'<rect width="{width}" height="{height}" rx="6" fill="{ground["ground"]}"/>'
    yield f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{SIZE}" xml:space="preserve">'
    style = {}
    for row, line in enumerate(lines):
        for column, text, look in runs(line, style):
            for piece in re.finditer(r"\S+(?: \S+)*", text):
                colour = ground.get(look.get("colour"), ground["faint" if look.get("faint") else "text"])
                bold = ' font-weight="bold"' if look.get("bold") else ""
                x, y = 12 + (column + piece.start()) * WIDTH, 10 + row * HEIGHT + 13
                length = len(piece[0]) * WIDTH
                yield f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs" fill="{colour}"{bold}>{escape(piece[0])}</text>'
    yield "</g></svg>"


if __name__ == "__main__":
    captured = sys.stdin.read().rstrip("\n").split("\n")
    print("\n".join(draw(captured, GROUNDS[sys.argv[1]])))
