#!/usr/bin/env python3
"""Writes the dashboards for Grafana: `python3 deploy/grafana/dashboards.py`; with `--check` only looks whether that was
done.

Both show the same panels; what differs is how a server is asked, and what it knows. Each way of asking is a class, the
panels are a list, and the JSON follows from the two.
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent

# The colours of `kstar plot`.
PV, HOUSE, BATTERY, GRID = "#f6b93b", "#3d85c6", "#2aa584", "#c379ae"
STORED, EXPORTED = "#8fd3c0", "#e3bcd7"
SOUND, DOUBTFUL, BROKEN = "#2aa584", "#f6b93b", "#d64545"

# A line ends where nothing was read for three minutes, in milliseconds.
GAP = 180_000

# What a chart of power or energy stacks: above the line where it came from, below it where it went.
SOURCES = [("PV", PV), ("From the battery", BATTERY), ("From the grid", GRID)]
USES = [("House", HOUSE), ("Into the battery", STORED), ("Into the grid", EXPORTED)]
POWERS = {
    "PV": ["pv_power"],
    "From the battery": ["battery_discharge_power"],
    "From the grid": ["grid_import_power"],
    "House": ["load_power", "backup_power"],
    "Into the battery": ["battery_charge_power"],
    "Into the grid": ["grid_export_power"],
}
ENERGIES = {
    "PV": "pv_energy",
    "From the battery": "battery_discharge_energy",
    "From the grid": "grid_import_energy",
    "Into the battery": "battery_charge_energy",
    "Into the grid": "grid_export_energy",
}

# What inverters tell of errors, and of what is none yet.
ERRORS = ["errors", "kstar_errors", "battery_alarms"]
WARNINGS = ["battery_warnings", "bms_warnings", "alarms"]


class InfluxQL:
    """InfluxDB, asked in InfluxQL: points of the measurement `inverter`, a field for each quantity."""

    name, plugin, kind, title = "InfluxDB", "influxdb", "influxdb", "Solar (InfluxDB)"
    measurement = '"inverter"'
    chosen = '"inverter" =~ /^$inverter$/ AND $timeFilter'

    def variables(self):
        yield {
            "name": "inverter",
            "label": "Inverter",
            "type": "query",
            "datasource": source(self),
            "query": f'SHOW TAG VALUES FROM {self.measurement} WITH KEY = "inverter"',
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        }
        yield {
            "name": "timezone",
            "label": "Zone of days",
            "description": "The zone whose midnights part the days, as in the collector's configuration.",
            "type": "textbox",
            "query": "UTC",
            "current": {"selected": True, "text": "UTC", "value": "UTC"},
        }

    def target(self, query, legend="", table=False):
        return {
            "query": query,
            "rawQuery": True,
            "resultFormat": "table" if table else "time_series",
            "alias": legend,
        }

    def of_each(self, values, rest=""):
        """What each inverter has, as a query to ask further."""
        return f'(SELECT {values} FROM {self.measurement} WHERE {self.chosen} GROUP BY {rest}"inverter")'

    def newest(self, quantities, legend):
        values = " + ".join(f'last("{quantity}")' for quantity in quantities)
        return self.target(f'SELECT sum("value") FROM {self.of_each(values + " AS value")} WHERE $timeFilter', legend)

    def newest_mean(self, quantity, legend):
        return self.target(
            f'SELECT mean("value") FROM {self.of_each(f"""last("{quantity}") AS value""")} WHERE $timeFilter', legend
        )

    def sum(self, quantities, legend):
        values = " + ".join(f'mean("{quantity}")' for quantity in quantities)
        each = self.of_each(f"{values} AS value", "time($__interval), ")
        return self.target(
            f'SELECT sum("value") FROM {each} WHERE $timeFilter GROUP BY time($__interval) fill(null)', legend
        )

    def each(self, quantity, legend):
        return self.target(
            f'SELECT mean("{quantity}") FROM {self.measurement} WHERE {self.chosen}'
            ' GROUP BY time($__interval), "inverter" fill(null)',
            legend.replace("INVERTER", "$tag_inverter"),
        )

    def today(self, energy, legend):
        return self.newest([f"{energy}_today"], legend)

    def days(self, outer, values, legend):
        """For each local day `outer` of what each inverter has; its midnights are those of the variable."""
        each = self.of_each(values, "time(1d), ")[:-1] + " fill(none) tz('$timezone'))"
        return self.target(
            f"SELECT {outer} FROM {each} WHERE $timeFilter GROUP BY time(1d) fill(none) tz('$timezone')", legend
        )

    def day(self, energy, legend):
        # The counters of the day begin at the collector's midnight, so their highest value is the day's.
        return self.days('sum("value")', f'max("{energy}_today") AS value', legend)

    used = 'integral("load_power", 1h) / 1000 AS load, integral("backup_power", 1h) / 1000 AS backup'

    def day_used(self, legend):
        return self.days('sum("load") + sum("backup")', self.used, legend)

    def own(self, legend, daily=False):
        """Self-consumption: the share of the production that was not fed in."""
        outer = '1 - sum("fed") / sum("made")'
        if daily:
            values = 'max("grid_export_energy_today") AS fed, max("pv_energy_today") AS made'
            return self.days(outer, values, legend)
        values = 'spread("grid_export_energy_total") AS fed, spread("pv_energy_total") AS made'
        return self.target(f"SELECT {outer} FROM {self.of_each(values)} WHERE $timeFilter", legend)

    def self_sufficiency(self, legend, daily=False):
        """Self-sufficiency: the share of the consumption that was not bought."""
        outer = '1 - sum("bought") / (sum("load") + sum("backup"))'
        if daily:
            return self.days(outer, f'max("grid_import_energy_today") AS bought, {self.used}', legend)
        values = f'spread("grid_import_energy_total") AS bought, {self.used}'
        # What an integral comes to has no time in the span that it is of.
        return self.target(f"SELECT {outer} FROM {self.of_each(values)}", legend)

    def mode(self, quantity, legend):
        return self.target(
            f'SELECT last("{quantity}") FROM {self.measurement} WHERE {self.chosen}'
            ' GROUP BY time($__interval), "inverter" fill(none)',
            legend.replace("INVERTER", "$tag_inverter"),
        )

    def told(self, flags):
        """Whether an inverter tells any of these."""
        # One that another inverter does not have is not told by it.
        return " OR ".join(f"\"{name}\" <> 'none'" for name in flags)

    def faults(self):
        query = f'SELECT count("reply_time") FROM {self.measurement} WHERE ({self.told(ERRORS)}) AND {self.chosen}'
        return number(
            "Readings with errors",
            self.target(query, "Readings with errors"),
            "short",
            BROKEN,
            description="Readings of the time that is shown in which an inverter told an error.",
            noValue="none",
        )

    def modes(self):
        yield row("Modes and faults")
        yield states(
            "Modes",
            (24, 8),
            [
                self.mode("inverter_state", "INVERTER"),
                self.mode("work_mode", "INVERTER, work"),
                self.mode("battery_mode", "INVERTER, battery"),
                self.mode("grid_direction", "INVERTER, grid"),
            ],
            interval="1m",
        )
        names = [f'"{name}"' for name in [*ERRORS, "bms_errors", *WARNINGS]]
        yield table(
            "Errors and warnings",
            (24, 7),
            [
                self.target(
                    f"SELECT {', '.join(names)} FROM {self.measurement}"
                    f" WHERE ({self.told(ERRORS + WARNINGS)}) AND {self.chosen}"
                    ' GROUP BY "inverter" ORDER BY time DESC LIMIT 100',
                    table=True,
                )
            ],
            "The newest hundred readings of each inverter in which it told an error or a warning.",
        )

    def collector(self):
        yield row("Collector")
        yield table(
            "Newest readings",
            (12, 7),
            [
                self.target(
                    f'SELECT last("reply_time") AS reply_time, "inverter_state", "work_mode", "errors"'
                    f' FROM {self.measurement} WHERE {self.chosen} GROUP BY "inverter"',
                    table=True,
                )
            ],
            "When each inverter was heard last.",
        )
        elapsed = self.of_each('elapsed("reply_time", 1s) AS elapsed')
        yield chart(
            "Longest time between two readings",
            (6, 7),
            [
                self.target(
                    f'SELECT max("elapsed") FROM {elapsed} WHERE $timeFilter'
                    ' GROUP BY time($__interval), "inverter" fill(none)',
                    "$tag_inverter",
                )
            ],
            "s",
            interval="1m",
        )
        yield chart("Reply time", (6, 7), [self.each("reply_time", "INVERTER")], "ms", interval="1m")


class PromQL:
    """Prometheus or VictoriaMetrics, asked in PromQL: what the collector tells at /metrics."""

    name, plugin, kind, title = "Prometheus", "prometheus", "prometheus", "Solar (Prometheus)"
    collectors = '{instance=~"$collector"}'
    # All together, which are `site`, would count twice beside those that they are made of.
    chosen = 'instance=~"$collector", inverter=~"$inverter", inverter!="site"'

    # How a metric is called follows from the unit of its quantity, and what makes of its value that unit again.
    UNITS = {
        "power": ("watts", ""),
        "voltage": ("volts", ""),
        "current": ("amperes", ""),
        "frequency": ("hertz", ""),
        "temperature": ("celsius", ""),
        "soc": ("ratio", " * 100"),
        "energy": ("joules", " / 3.6e6"),
        "time": ("seconds", " * 1000"),
    }

    def metric(self, quantity, labels=""):
        """The series of a quantity, and what brings them to its unit."""
        total, today = quantity.endswith("_total"), quantity.endswith("_today")
        stem = quantity.removesuffix("_total").removesuffix("_today")
        word, scale = self.UNITS[stem.rsplit("_", 1)[-1]]
        name = f"kstar_{stem}{'_today' if today else ''}_{word}{'_total' if total else ''}"
        return f"{name}{{{self.chosen}{labels}}}", scale

    def flags(self, quantity, labels=""):
        return f"kstar_{quantity}{{{self.chosen}{labels}}}"

    def variables(self):
        for name, label, metric, of in [
            ("collector", "Collector", "kstar_build_info", "instance"),
            ("inverter", "Inverter", f"kstar_inverter_up{self.collectors}", "inverter"),
        ]:
            yield {
                "name": name,
                "label": label,
                "type": "query",
                "datasource": source(self),
                "query": {"qryType": 1, "query": f"label_values({metric}, {of})", "refId": name},
                "refresh": 2,
                "sort": 1,
                "multi": True,
                "includeAll": True,
                "allValue": ".+",
                "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            }

    def target(self, query, legend="", instant=False, table=False):
        return {
            "expr": query,
            "legendFormat": legend,
            "instant": instant,
            "range": not instant,
            "format": "table" if table else "time_series",
            "editorMode": "code",
        }

    def newest(self, quantities, legend):
        (metric, scale), *more = (self.metric(quantity) for quantity in quantities)
        query = f"sum({metric})" + "".join(f" + (sum({other}) or vector(0))" for other, _ in more)
        return self.target(query + scale, legend, instant=True)

    def newest_mean(self, quantity, legend):
        metric, scale = self.metric(quantity)
        return self.target(f"avg({metric}){scale}", legend, instant=True)

    def sum(self, quantities, legend):
        means = [f"sum(avg_over_time({self.metric(quantity)[0]}[$__rate_interval]))" for quantity in quantities]
        query = means[0] + "".join(f" + ({mean} or vector(0))" for mean in means[1:])
        return self.target(query, legend)

    def each(self, quantity, legend):
        metric, scale = self.metric(quantity)
        return self.target(
            f"avg_over_time({metric}[$__rate_interval]){scale}", legend.replace("INVERTER", "{{inverter}}")
        )

    def today(self, energy, legend):
        return self.newest([f"{energy}_today"], legend)

    # A step of a day stands at its beginning, and tells what follows.
    DAY = "[1d] offset -1d"

    def grown(self, energy, span):
        """By how much a total has grown, in joules: a day's counter would show the day before until it is scraped."""
        return f"sum(increase({self.metric(energy + '_total')[0]}{span}))"

    def used(self, span, step, seconds):
        """What the house has used, in joules: its mean power of each step of a time."""
        load, backup = (
            f"sum(avg_over_time({self.metric(power)[0]}[{step}]))" for power in ("load_power", "backup_power")
        )
        bracket, offset = span.split("]")
        return f"sum_over_time(({load} + ({backup} or vector(0))){bracket}:{step}]{offset}) * {seconds}"

    def consumed(self, daily):
        """What the house has used each day, or in the time that is shown."""
        # VictoriaMetrics takes no more than 30,000 steps, and two minutes are 23,000 in the 32 days that it looks at.
        return (
            self.used(self.DAY, "2m", 120) if daily else self.used("[$__range]", "$__interval", "$__interval_ms / 1000")
        )

    def day(self, energy, legend):
        return self.target(f"{self.grown(energy, self.DAY)} / 3.6e6", legend)

    def day_used(self, legend):
        return self.target(f"{self.consumed(True)} / 3.6e6", legend)

    def share(self, part, whole, legend, daily):
        return self.target(f"clamp(1 - {part} / (({whole}) > 0), 0, 1)", legend, instant=not daily)

    def own(self, legend, daily=False):
        """Self-consumption: the share of the production that was not fed in."""
        span = self.DAY if daily else "[$__range]"
        return self.share(self.grown("grid_export_energy", span), self.grown("pv_energy", span), legend, daily)

    def self_sufficiency(self, legend, daily=False):
        """Self-sufficiency: the share of the consumption that was not bought."""
        span = self.DAY if daily else "[$__range]"
        return self.share(self.grown("grid_import_energy", span), self.consumed(daily), legend, daily)

    def faults(self):
        return number(
            "Errors",
            self.target(
                # No two of these sets have a flag with a name in common.
                f"sum({' or '.join(self.flags(name) for name in ERRORS)})",
                "Errors",
                instant=True,
            ),
            "short",
            steps((SOUND, None), (BROKEN, 1)),
            description="How many errors inverters tell now.",
        )

    def modes(self):
        yield row("Modes and faults")
        yield self.present(
            "Modes",
            [
                self.target(
                    f"max_over_time(kstar_{mode}{{{self.chosen}}}[$__rate_interval]) > 0",
                    f"{{{{inverter}}}}, {name}: {{{{state}}}}",
                )
                for mode, name in [
                    ("inverter_state", "inverter"),
                    ("work_mode", "work"),
                    ("battery_mode", "battery"),
                    ("grid_direction", "grid"),
                ]
            ],
            "Each mode that occurred, and when.",
            SOUND,
        )
        # Without a BMS an inverter says so all the time.
        without_bms = ', flag!="no_bms_communication"'
        told = [[(name, "") for name in ERRORS], [("bms_errors", without_bms)], [(name, "") for name in WARNINGS]]
        occurred = [
            " or ".join(
                f"max_over_time({self.flags(quantity, labels)}[$__rate_interval]) > 0" for quantity, labels in flags
            )
            for flags in told
        ]
        yield self.present(
            "Errors and warnings",
            [self.target(query, "{{inverter}}: {{flag}}") for query in occurred],
            "Each error and warning that occurred, and when.",
            BROKEN,
        )

    def present(self, title, targets, description, colour):
        """A bar where something is so, of a curve that is 1 there and else absent."""
        panel_ = states(title, (24, 8), targets, description, interval="1m", defaults={"color": fixed(colour)})
        panel_["options"]["showValue"] = "never"
        panel_["fieldConfig"]["defaults"]["noValue"] = "none"
        return panel_

    def collector(self):
        yield row("Collector")
        up, sinks = (f"kstar_{name}{self.collectors}" for name in ("inverter_up", "sink_up"))
        words = {
            "0": {"text": "silent", "color": BROKEN, "index": 0},
            "1": {"text": "answers", "color": SOUND, "index": 1},
        }
        arrived = {"0": {"text": "down", "color": BROKEN, "index": 0}, "1": {"text": "up", "color": SOUND, "index": 1}}
        for title, query, legend, mapping in [
            ("Inverters", up, "{{inverter}}", words),
            ("Sinks", sinks, "{{sink}}", arrived),
        ]:
            colours = steps((BROKEN, None), (SOUND, 1))
            each_ = number(title, self.target(query, legend, instant=True), "short", colours, (6, 7))
            each_["options"]["textMode"] = "value_and_name"
            each_["fieldConfig"]["defaults"]["mappings"] = [{"type": "value", "options": mapping}]
            yield each_
        yield chart(
            "Age of the newest reading",
            (6, 7),
            [self.target(f"kstar_reading_age_seconds{{{self.chosen}}}", "{{inverter}}")],
            "s",
        )
        yield chart("Reply time", (6, 7), [self.each("reply_time", "INVERTER")], "ms", interval="1m")
        yield chart(
            "Polls in a minute",
            (6, 7),
            [self.rate("inverter, outcome", f"kstar_polls_total{{{self.chosen}}}", "{{inverter}}: {{outcome}}")],
            "short",
            interval="1m",
        )
        yield chart(
            "Refused in a minute",
            (6, 7),
            [
                self.rate("inverter", f"kstar_datagrams_refused_total{{{self.chosen}}}", "{{inverter}}: datagrams"),
                self.rate(
                    "inverter", f'kstar_readings_total{{{self.chosen}, verdict="refused"}}', "{{inverter}}: readings"
                ),
            ],
            "short",
            "Datagrams that were no reply to what was asked, and readings that were not believed.",
            interval="1m",
        )
        yield chart(
            "Readings that wait",
            (6, 7),
            [self.target(f"kstar_sink_queued_readings{self.collectors}", "{{sink}}")],
            "short",
            "In memory and on disk, for a far side that is away.",
        )
        lost = '{instance=~"$collector", outcome=~"dropped|rejected|missed"}'
        yield chart(
            "Lost in a minute",
            (6, 7),
            [self.rate("sink, outcome", f"kstar_sink_readings_total{lost}", "{{sink}}: {{outcome}}")],
            "short",
            interval="1m",
        )

    def rate(self, by, series, legend):
        return self.target(f"60 * sum by ({by}) (rate({series}[$__rate_interval]))", legend)


def source(server):
    return {"type": server.plugin, "uid": "${datasource}"}


def fixed(colour):
    return {"mode": "fixed", "fixedColor": colour}


def steps(*colours):
    """Colours and the values from which they hold; the first holds for whatever is less."""
    return {
        "mode": "absolute",
        "steps": [{"color": colour, "value": value} for colour, value in colours],
    }


def override(name, **properties):
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def panel(kind, title, size, targets, description="", **more):
    """A panel of width and height `size`; where it stands is found later."""
    width, height = size
    defaults = {"unit": more.pop("unit", "short"), **more.pop("defaults", {})}
    return {
        "type": kind,
        "title": title,
        "description": description,
        "gridPos": {"w": width, "h": height, "x": 0, "y": 0},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        **more,
    }


def number(title, target, unit, colour, size=(4, 4), description="", kind="stat", **defaults):
    """One value of one query, usually the newest."""
    single = {"reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""}, "orientation": "auto"}
    if kind == "stat":
        options = {**single, "colorMode": "value", "graphMode": "none", "justifyMode": "center", "textMode": "value"}
    else:
        options = {**single, "showThresholdLabels": False, "showThresholdMarkers": False}
    colouring = (
        {"color": {"mode": "thresholds"}, "thresholds": colour}
        if isinstance(colour, dict)
        else {"color": fixed(colour)}
    )
    return panel(
        kind, title, size, [target], description, unit=unit, options=options, defaults={**colouring, **defaults}
    )


def gauge(title, target, unit, colour, highest, size=(4, 4), description=""):
    return number(title, target, unit, colour, size, description, "gauge", min=0, max=highest)


def chart(title, size, targets, unit, description="", legend=True, defaults=None, custom=None, **more):
    """Curves over time."""
    look = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 0,
        "showPoints": "never",
        "spanNulls": GAP,
        **(custom or {}),
    }
    return panel(
        "timeseries",
        title,
        size,
        targets,
        description,
        unit=unit,
        defaults={
            "color": {"mode": "palette-classic"},
            "custom": {key: value for key, value in look.items() if value is not None},
            **(defaults or {}),
        },
        options={
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": legend, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "none"},
        },
        **more,
    )


def balance(title, size, targets, unit, description, **more):
    """Where it came from above the line, where it went below it."""
    overrides = [override(name, color=fixed(colour)) for name, colour in SOURCES]
    overrides += [override(name, color=fixed(colour), custom__transform="negative-Y") for name, colour in USES]
    custom = {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 70, **more.pop("custom", {})}
    return chart(title, size, targets, unit, description, overrides=overrides, custom=custom, **more)


def states(title, size, targets, description="", **more):
    """Modes over time, one bar each."""
    return panel(
        "state-timeline",
        title,
        size,
        targets,
        description,
        options={
            "alignValue": "left",
            "mergeValues": True,
            "rowHeight": 0.8,
            "showValue": "auto",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        defaults={
            "color": {"mode": "palette-classic"},
            "custom": {"fillOpacity": 70, "lineWidth": 0},
            **more.pop("defaults", {}),
        },
        **more,
    )


def table(title, size, targets, description="", **more):
    return panel(
        "table",
        title,
        size,
        targets,
        description,
        options={"showHeader": True, "frameIndex": 0, "cellHeight": "sm"},
        **more,
    )


def row(title):
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"w": 24, "h": 1, "x": 0, "y": 0},
    }


def panels(server):
    """What is shown, from left to right and from top to bottom."""
    full = steps((BROKEN, None), (DOUBTFUL, 20), (SOUND, 50))
    share = steps((BROKEN, None), (DOUBTFUL, 0.3), (SOUND, 0.6))
    yield row("Now")
    yield number(
        "PV", server.newest(["pv_power"], "PV"), "watt", PV, description="Power of the panels, on the DC side."
    )
    yield number(
        "House",
        server.newest(["load_power", "backup_power"], "House"),
        "watt",
        HOUSE,
        description="What the house uses, its back-up output included.",
    )
    yield number(
        "Battery",
        server.newest(["battery_power"], "Battery"),
        "watt",
        BATTERY,
        description="Above 0 it is charged, below 0 it gives.",
    )
    yield number(
        "Grid",
        server.newest(["grid_power"], "Grid"),
        "watt",
        GRID,
        description="Above 0 it is bought, below 0 it is fed in.",
    )
    yield gauge("State of charge", server.newest_mean("battery_soc", "State of charge"), "percent", full, 100)
    yield server.faults()

    yield row("Power")
    yield balance(
        "Power",
        (16, 10),
        [server.sum(quantities, name) for name, quantities in POWERS.items()],
        "watt",
        "Above the line where power came from, below it where it went.",
        interval="1m",
    )
    yield chart(
        "State of charge",
        (8, 10),
        [server.each("battery_soc", "INVERTER")],
        "percent",
        interval="1m",
        defaults={"min": 0, "max": 100},
        custom={"fillOpacity": 15},
    )

    yield row("Energy")
    for title, energy, colour in [
        ("PV today", "pv_energy", PV),
        ("Bought today", "grid_import_energy", GRID),
        ("Fed in today", "grid_export_energy", GRID),
        ("Charged today", "battery_charge_energy", BATTERY),
        ("Discharged today", "battery_discharge_energy", BATTERY),
        ("Load today", "load_energy", HOUSE),
    ]:
        whose = "inverter" if energy == "load_energy" else "collector"
        yield number(
            title, server.today(energy, title), "kwatth", colour, (3, 4), f"Since midnight by the {whose}'s clock."
        )
    yield gauge(
        "Self-consumption",
        server.own("Self-consumption"),
        "percentunit",
        share,
        1,
        (3, 4),
        "In the time that is shown: the share of the production that was not fed in.",
    )
    self_sufficiency = gauge(
        "Self-sufficiency",
        server.self_sufficiency("Self-sufficiency"),
        "percentunit",
        share,
        1,
        (3, 4),
        "In the time that is shown: the share of the consumption that was not bought.",
    )
    # Steps of the time that is shown are fine enough, however small the panel.
    self_sufficiency.update(interval="1m", maxDataPoints=1000)
    yield self_sufficiency
    yield balance(
        "Energy of each day",
        (16, 9),
        [server.day(energy, name) for name, energy in ENERGIES.items()] + [server.day_used("House")],
        "kwatth",
        "The last 30 days, whatever time is shown.",
        interval="1d",
        timeFrom="30d",
        custom={"drawStyle": "bars", "barAlignment": 1, "barWidthFactor": 0.8, "spanNulls": None},
    )
    yield chart(
        "Self-consumption and self-sufficiency of each day",
        (8, 9),
        [server.own("Self-consumption", daily=True), server.self_sufficiency("Self-sufficiency", daily=True)],
        "percentunit",
        "The last 30 days, whatever time is shown.",
        interval="1d",
        timeFrom="30d",
        defaults={"min": 0, "max": 1},
        custom={"showPoints": "always", "spanNulls": True},
        overrides=[override("Self-consumption", color=fixed(PV)), override("Self-sufficiency", color=fixed(HOUSE))],
    )

    yield row("Grid, panels and temperatures")
    for title, targets, unit in [
        ("Grid voltage", [("grid_voltage", "INVERTER")], "volt"),
        ("Grid frequency", [("grid_frequency", "INVERTER")], "hertz"),
        (
            "Temperatures",
            [("inverter_temperature", "INVERTER"), ("battery_temperature", "INVERTER battery")],
            "celsius",
        ),
        ("Panel voltage", [("pv1_voltage", "INVERTER string 1"), ("pv2_voltage", "INVERTER string 2")], "volt"),
        ("Battery voltage", [("battery_voltage", "INVERTER")], "volt"),
        ("Battery current", [("battery_current", "INVERTER")], "amp"),
    ]:
        yield chart(title, (8, 7), [server.each(quantity, legend) for quantity, legend in targets], unit, interval="1m")

    yield from server.modes()
    yield from server.collector()


def placed(items):
    """The panels with their ids and places: beside each other as long as there is room."""
    x = y = height = 0
    for number_, item in enumerate(items, 1):
        place = item["gridPos"]
        if x + place["w"] > 24:
            x, y, height = 0, y + height, 0
        place["x"], place["y"] = x, y
        x, height = x + place["w"], max(height, place["h"])
        item["id"] = number_
        yield item


def dashboard(server):
    items = list(placed(panels(server)))
    for item in items:
        if "targets" not in item:
            continue
        item["datasource"] = source(server)
        for letter, target in zip("ABCDEFGHIJ", item["targets"], strict=False):
            target["refId"] = letter
            target["datasource"] = source(server)
    kinds = sorted({item["type"] for item in items} - {"row"})
    return {
        "__inputs": [],
        "__elements": {},
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.4.0"},
            {"type": "datasource", "id": server.plugin, "name": server.name, "version": "1.0.0"},
            *({"type": "panel", "id": kind, "name": kind, "version": ""} for kind in kinds),
        ],
        "uid": f"kstar-{server.kind}",
        "title": server.title,
        "description": "KSTAR inverters, collected by kstar-collector.",
        "tags": ["kstar", "solar"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "refresh": "10s",
        "time": {"from": "now-24h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "weekStart": "",
        "links": [],
        "annotations": {"list": []},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": server.plugin,
                    "refresh": 1,
                    "multi": False,
                    "includeAll": False,
                },
                *server.variables(),
            ]
        },
        "panels": items,
    }


SERVERS = (InfluxQL(), PromQL())


def main():
    for server in SERVERS:
        path = FOLDER / f"kstar-{server.kind}.json"
        text = json.dumps(dashboard(server), indent=2, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif path.read_text() != text:
            sys.exit(f"{path} is not what dashboards.py writes; run it")


if __name__ == "__main__":
    main()
