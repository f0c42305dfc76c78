#!/usr/bin/env python3
"""Draws what the dashboard for InfluxDB shows, from the answers to its queries: `draw.py URL END -o FILE`.

It is no picture of Grafana, which draws the same answers in its own way. It needs matplotlib and pillow, and a server
with a database `solar`. END is the moment at which the day ends that is shown, in Unix milliseconds.
"""

import argparse
import datetime
import io

import matplotlib
from PIL import Image

import check
import dashboards

matplotlib.use("Agg")

import matplotlib.dates  # noqa: E402
import matplotlib.pyplot as pyplot  # noqa: E402

ROW = 0.34  # inches that a unit of height takes
WIDTH = 15.0
DAY_MS = 24 * 60 * 60 * 1000
INKS = ["#3d85c6", "#f6b93b", "#2aa584", "#c379ae", "#7a6ff0", "#d9822b", "#5b6675", "#93487e"]
WORDS = {"watt": "W", "kwatth": "kWh", "percent": "%", "volt": "V", "hertz": "Hz", "celsius": "°C", "amp": "A"}


def moments(points):
    return [datetime.datetime.fromtimestamp(at / 1000, datetime.UTC) for at, _ in points]


def colours(panel):
    """The colour and the direction of the series that have their own."""
    found, below = {}, set()
    for override in panel["fieldConfig"]["overrides"]:
        name = override["matcher"]["options"]
        for one in override["properties"]:
            if one["id"] == "color":
                found[name] = one["value"]["fixedColor"]
            if one["id"] == "custom.transform":
                below.add(name)
    return found, below


def number(axes, panel, series):
    defaults = panel["fieldConfig"]["defaults"]
    axes.axis("off")
    if not series:
        axes.text(0.5, 0.42, defaults.get("noValue", "–"), ha="center", va="center", fontsize=15)
        return
    value, unit = check.last(series), defaults["unit"]
    text = f"{value * 100:.0f} %" if unit == "percentunit" else f"{value:,.1f} {WORDS.get(unit, '')}"
    colour = defaults["color"].get("fixedColor")
    for step in defaults.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    axes.text(0.5, 0.42, text, ha="center", va="center", fontsize=15, color=colour, weight="bold")
    if panel["type"] == "gauge":
        share = value / defaults["max"]
        axes.barh([0.08], [1], height=0.1, color="#e3e7ec")
        axes.barh([0.08], [share], height=0.1, color=colour)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)


def stacked(axes, panel, series):
    found, below = colours(panel)
    bars = panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] == "bars"
    heights = {1: {}, -1: {}}
    for name, points in series:
        sign = -1 if name in below else 1
        base = heights[sign]
        bottoms = [base.get(at, 0) for at, _ in points]
        tops = [bottom + sign * value for bottom, (_, value) in zip(bottoms, points, strict=True)]
        if bars:
            values = [sign * value for _, value in points]
            axes.bar(moments(points), values, width=0.8, bottom=bottoms, align="edge", color=found[name], label=name)
        else:
            axes.fill_between(moments(points), bottoms, tops, color=found[name], alpha=0.8, linewidth=0, label=name)
        base.update(zip((at for at, _ in points), tops, strict=True))
    axes.axhline(0, color="#1b2430", linewidth=0.6)


def curves(axes, panel, series):
    found, _ = colours(panel)
    for (name, points), ink in zip(series, INKS * 4, strict=False):
        marker = "." if panel["fieldConfig"]["defaults"]["custom"]["showPoints"] == "always" else None
        values = [value for _, value in points]
        axes.plot(moments(points), values, linewidth=0.9, marker=marker, color=found.get(name, ink), label=name)
    defaults = panel["fieldConfig"]["defaults"]
    axes.set_ylim(defaults.get("min"), defaults.get("max"))


def timeline(axes, series):
    values = sorted({value for _, points in series for _, value in points})
    ink = dict(zip(values, INKS * 4, strict=False))
    for line, (_name, points) in enumerate(series):
        at = moments(points)
        for begin, end, (_, value) in zip(at, at[1:], points, strict=False):
            axes.barh([-line], [end - begin], left=[begin], height=0.8, color=ink[value], linewidth=0)
    axes.set_yticks([-line for line in range(len(series))], [name for name, _ in series], fontsize=6)
    for value in values:
        axes.plot([], [], color=ink[value], linewidth=5, label=value)


def table(axes, series):
    axes.axis("off")
    if not series:
        axes.text(0.5, 0.5, "No data", ha="center", va="center", fontsize=8)
        return
    lines = [f"{name}: {points[-1][1]}" for name, points in series]
    axes.text(0.02, 0.95, "\n".join(lines), ha="left", va="top", fontsize=7)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("end", type=int)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--timezone", default="UTC")
    parser.add_argument("--height", type=int, help="how much is drawn, in the dashboard's units")
    arguments = parser.parse_args()
    server = dashboards.InfluxQL()
    board = dashboards.dashboard(server)
    rendering = check.Rendering(arguments.end - DAY_MS, arguments.end, timezone=arguments.timezone)
    asked = check.AskInflux(arguments.url)
    shown = {panel["id"]: series for panel, series in check.answers(board, asked, rendering, all_inverters=False)}
    height = arguments.height or max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    figure = pyplot.figure(figsize=(WIDTH, height * ROW), facecolor="#f4f5f7")
    pyplot.rcParams.update({"font.size": 7, "font.family": "DejaVu Sans"})
    for panel in board["panels"]:
        place = panel["gridPos"]
        if place["y"] + place["h"] > height:
            continue
        left, width = place["x"] / 24, place["w"] / 24
        bottom, tall = 1 - (place["y"] + place["h"]) / height, place["h"] / height
        if panel["type"] == "row":
            figure.text(left + 0.008, bottom + tall / 2, panel["title"], va="center", weight="bold", fontsize=9)
            continue
        figure.patches.append(
            pyplot.Rectangle(
                (left + 0.003, bottom + 0.0015), width - 0.006, tall - 0.003, transform=figure.transFigure,
                facecolor="white", edgecolor="#d9dde3", zorder=-1,
            )
        )  # fmt: skip
        title = 0.5 / height
        figure.text(left + 0.008, bottom + tall - 1.2 * title, panel["title"], va="center", fontsize=8)
        margin = 0.10 if panel["type"] == "state-timeline" else 0.035
        box = [left + margin, bottom + 2.1 / height, width - margin - 0.012, tall - 3.8 / height]
        if panel["type"] in ("stat", "gauge", "table"):
            box = [left + 0.01, bottom + 0.3 / height, width - 0.02, tall - 1.3 / height]
        axes = figure.add_axes(box, facecolor="none")
        series = shown[panel["id"]]
        if panel["type"] in ("stat", "gauge"):
            number(axes, panel, series)
            continue
        if panel["type"] == "table":
            table(axes, series)
            continue
        if panel["type"] == "state-timeline":
            timeline(axes, series)
        elif panel["fieldConfig"]["defaults"]["custom"].get("stacking"):
            stacked(axes, panel, series)
        else:
            curves(axes, panel, series)
        dates = matplotlib.dates
        days = panel.get("timeFrom")
        axes.xaxis.set_major_formatter(dates.DateFormatter("%d %b" if days else "%H:%M"))
        axes.xaxis.set_major_locator(dates.DayLocator() if days else dates.HourLocator(range(0, 24, 4)))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e3e7ec", linewidth=0.5)
        axes.set_axisbelow(True)
        legend_at = (0.5, -0.9 / (place["h"] - 3.8))
        axes.legend(loc="upper center", bbox_to_anchor=legend_at, ncols=6, frameon=False, fontsize=6.5)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=90, facecolor=figure.get_facecolor())
    Image.open(drawn).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
