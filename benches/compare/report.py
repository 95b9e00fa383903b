"""The figures as Markdown, and their place in the README."""

import statistics
from collections import Counter

from networks import DESCRIPTIONS

MODES = {"forward": "Predicting", "train": "Training (Adam, crossentropy)"}


def processor():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "a CPU")


def ratios(cell):
    """How many times as fast as the fastest other Irori is in each round, and which that is."""
    others = list(cell["ways"])
    middle = {name: statistics.median(figures[name] for figures in cell["rounds"]) for name in others}
    fastest = min(others, key=middle.get)
    return fastest, [figures[fastest] / figures["irori"] for figures in cell["rounds"]]


def rate(cell, name):
    """Images per second, the median of the rounds."""
    return f"{cell['batch'] / statistics.median(figures[name] for figures in cell['rounds']):,.0f}"


def table(results):
    names, cells = results["names"], results["cells"]
    peaks = {
        threads: statistics.median(f["peak_gflops"] for c in cells if c["threads"] == threads for f in c["rounds"])
        for threads in sorted({cell["threads"] for cell in cells})
    }
    measured = ", ".join(f"{peak:.0f} GFLOP/s on {n} thread{'s'[: n - 1]}" for n, peak in peaks.items())
    lines = [
        f"Images per second on a virtual machine with {processor()} (measured peak: {measured}), beside "
        f"{', '.join(names.values())}; medians of {results['rounds']} rounds in turn. The last column is how many times "
        "as fast Irori is as the fastest of the others: the median of the ratio in each round, the least and the "
        f"greatest. Scores agree within {max(results['differences'].values()):.0e}.",
        "",
    ]
    lines += [f"- **{network}**: {DESCRIPTIONS[network]}" for network in sorted({cell["network"] for cell in cells})]
    for mode, title in MODES.items():
        shown = [cell for cell in cells if cell["mode"] == mode]
        others = list(shown[0]["ways"])
        head = ["", "batch", "threads", "Irori", *(names[name].split()[0] for name in others), "Irori to the fastest"]
        head = [{"ONNX": "ONNX Runtime"}.get(column, column) for column in head]
        lines += ["", f"**{title}**", "", f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
        for cell in shown:
            _, found = ratios(cell)
            ratio = f"**{statistics.median(found):.2f}** [{min(found):.2f} – {max(found):.2f}]"
            figures = [rate(cell, name) for name in ("irori", *others)]
            row = [cell["network"], str(cell["batch"]), str(cell["threads"]), *figures, ratio]
            lines.append(f"| {' | '.join(row)} |")
    lines += ["", f"The others run a network in several ways, and were given the fastest for each cell: {ways(results)}."]
    return "\n".join(lines)


def ways(results):
    """`PyTorch compiled, channels last (20), eager, channels last (4); …`"""
    chosen = {name: Counter() for name in results["names"]}
    for cell in results["cells"]:
        for name, way in cell["ways"].items():
            chosen[name][way["way"]] += 1
    several = [
        f"{results['names'][name].split()[0]} " + ", ".join(f"{way} ({count})" for way, count in counts.most_common())
        for name, counts in chosen.items()
        if name != "onnxruntime"
    ]
    return "; ".join(several)


def write(readme, block, text):
    """Replaces what stands between `<!-- block -->` and `<!-- /block -->`."""
    before, begin, rest = readme.read_text().partition(f"<!-- {block} -->\n")
    _, end, after = rest.partition(f"<!-- /{block} -->")
    if not (begin and end):
        raise SystemExit(f"{readme} has no place for the table: <!-- {block} --> and <!-- /{block} -->")
    readme.write_text(f"{before}{begin}{text}\n{end}{after}")
