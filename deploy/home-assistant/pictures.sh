#!/usr/bin/env bash
# Draws the app's icon and logo from icon.svg: `deploy/home-assistant/pictures.sh`.
# Needs rsvg-convert and DejaVu Sans (Debian: librsvg2-bin, fonts-dejavu-core).
set -euo pipefail
cd "$(dirname "$0")"

rsvg-convert --width 128 --height 128 --output kstar/icon.png icon.svg

# The logo is the icon, smaller, with the name beside it.
drawing=$(sed -n '/<g/,/<\/g>/p' icon.svg)
rsvg-convert --width 250 --height 100 --output kstar/logo.png <<SVG
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 250 100">
  <g transform="translate(4 10) scale(0.625)">$drawing</g>
  <g font-family="DejaVu Sans" fill="#1f6f9f">
    <text x="98" y="50" font-size="31" font-weight="bold">KSTAR</text>
    <text x="99" y="76" font-size="22">collector</text>
  </g>
</svg>
SVG
