"""Panels: asks a Prometheus each query of the dashboard, and fails where one has no answer.

    python tests/dashboard/panels.py http://127.0.0.1:9090 --seconds 60 [--draw docs/dashboard.svg]

What is drawn is what Prometheus answers; that needs matplotlib.
"""

import argparse
import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

DASHBOARD = pathlib.Path(__file__).parents[2] / "docker" / "grafana" / "irori.json"


def ask(prometheus, expression, start, end, step):
    """The series that answer an expression, with their points that are numbers."""
    query = {"query": expression, "start": start, "end": end, "step": step}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            result = json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        sys.exit(f"{expression}: {json.load(error)['error']}")
    series = [
        (one["metric"], [(when, float(value)) for when, value in one["values"]]) for one in result
    ]
    finite = [
        (labels, [(when, value) for when, value in points if math.isfinite(value)])
        for labels, points in series
    ]
    return [(labels, points) for labels, points in finite if points]


def legend(text, labels):
    return re.sub(r"{{(\w+)}}", lambda name: labels.get(name[1], ""), text)


def answers(prometheus, panel, start, end, step, window):
    """The panel's series under their names in its legend."""
    named = []
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", window).replace("$model", ".*")
        series = ask(prometheus, expression, start, end, step)
        if not series:
            sys.exit(f"{panel['title']}: no data for {expression}")
        named += [(legend(target["legendFormat"], labels), points) for labels, points in series]
    points = sum(len(points) for _, points in named)
    print(f"{panel['title']:28} {len(named):2} series, {points:5} points")
    return named


def amount(unit):
    """How a value of this unit is written at an axis."""

    def scaled(value, steps):
        for factor, suffix in steps:
            if abs(value) >= factor:
                return f"{value / factor:.3g} {suffix}"
        return f"{value:.3g}"

    kinds = {
        "s": lambda value, _: scaled(value, [(1, "s"), (1e-3, "ms"), (1e-6, "µs")]),
        "bytes": lambda value, _: scaled(value, [(1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")]),
        "percentunit": lambda value, _: f"{value * 100:.3g} %",
        "reqps": lambda value, _: f"{value:.4g}/s",
    }
    return kinds.get(unit, lambda value, _: f"{value:.4g}")


def draw(panels, start, file):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"font.size": 8, "axes.titlesize": 9, "svg.fonttype": "none", "svg.hashsalt": "irori"})
    from matplotlib import pyplot

    columns = 3
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(13, 2.5 * rows), layout="constrained")
    for ax, (panel, series) in zip(axes.flat, panels):
        defaults = panel["fieldConfig"]["defaults"]
        stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
        under = {}
        for name, points in sorted(series):
            times = [when - start for when, _ in points]
            below = [under.get(when, 0.0) if stacked else 0.0 for when, _ in points]
            values = [base + value for base, (_, value) in zip(below, points)]
            (line,) = ax.plot(times, values, linewidth=1.1, label=name)
            if stacked:
                ax.fill_between(times, below, values, color=line.get_color(), alpha=0.25)
                under.update((when, value) for (when, _), value in zip(points, values))
        ax.set_title(panel["title"], loc="left", fontweight="bold")
        ax.yaxis.set_major_formatter(amount(defaults["unit"]))
        ax.grid(alpha=0.25, linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlim(0, None)
        if defaults.get("min") == 0:
            ax.set_ylim(0, None)
        ax.legend(fontsize=6.5, frameon=False, loc="best")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    figure.savefig(file, metadata={"Date": None})


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("prometheus")
    arguments.add_argument("--seconds", type=float, default=60, help="how far to look back")
    arguments.add_argument("--step", type=float, default=1, help="seconds between points")
    arguments.add_argument("--window", default="10s", help="what rates are taken over")
    arguments.add_argument("--draw", metavar="FILE", help="draw the panels into this SVG file")
    given = arguments.parse_args()
    end = time.time()
    start = end - given.seconds
    panels = [
        (panel, answers(given.prometheus, panel, start, end, given.step, given.window))
        for panel in json.loads(DASHBOARD.read_text())["panels"]
    ]
    if given.draw:
        draw(panels, start, given.draw)


if __name__ == "__main__":
    main()
