#!/usr/bin/env python3
"""Writes the letters of a font as lines of text, for the charts that are drawn as PNG.

    pip install fonttools
    apt-get download fonts-dejavu-core && dpkg -x fonts-dejavu-core_2.37*.deb .
    python3 letters.py usr/share/fonts/truetype/dejavu/DejaVuSans.ttf > DejaVuSans.letters
    python3 letters.py usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf > DejaVuSans-Bold.letters

A line for each letter: its code point, how far the next one stands from it, and its outline as the path of an SVG, with
the y axis upwards and 2048 units for the size of the font. Then a line for each pair of letters that stand closer or
further than that: both code points, and how much.
"""

import sys

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

# All that a chart writes: ASCII and the dash.
LETTERS = [*range(0x20, 0x7F), 0x2013]


def pairs(font):
    """The pairs of the table `kern`, which says the same as GPOS for these letters."""
    (table,) = font["kern"].kernTables
    return table.kernTable


def main():
    font = TTFont(sys.argv[1])
    assert font["head"].unitsPerEm == 2048
    names = font.getBestCmap()
    glyphs = font.getGlyphSet()
    for letter in LETTERS:
        pen = SVGPathPen(glyphs)
        glyphs[names[letter]].draw(pen)
        print(f"{letter:04x} {glyphs[names[letter]].width} {pen.getCommands()}".rstrip())
    kerning = pairs(font)
    for one in LETTERS:
        for other in LETTERS:
            distance = kerning.get((names[one], names[other]))
            if distance:
                print(f"{one:04x} {other:04x} {distance}")


if __name__ == "__main__":
    main()
