"""What was measured, as tables."""

import statistics

MARKS = "<!-- benches/serve -->", "<!-- /benches/serve -->"
NETWORKS = {
    "a": "Network A, bound by compute: 24 million operations an image",
    "b": "Network B, the tutorial's, bound by overhead: 2 million operations an image",
}


def cpu_model():
    with open("/proc/cpuinfo") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")


def milliseconds(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def megabytes(count):
    return f"{count / 1e6:,.0f} MB"


def line(measured):
    """One measurement, for whoever watches."""
    return (
        f"{measured['requests_per_second']:7.0f}/s  p50 {milliseconds(measured['p50_seconds'])}"
        f"  p99 {milliseconds(measured['p99_seconds'])}  errors {measured['errors']}"
        f"  {measured['cpu_seconds_per_request'] * 1e6:.0f} µs of CPU each"
        f"  {megabytes(measured['resident_bytes'])}"
    )


def median(rounds, *path):
    """The median over the rounds of the figure that this path leads to."""

    def follow(figures):
        for step in path:
            figures = figures[step]
        return figures

    return statistics.median(map(follow, rounds))


def cell(rounds, connections):
    figures = [
        median(rounds, "load", connections, key) for key in ("requests_per_second", "p50_seconds", "p99_seconds")
    ]
    errors = sum(figures["load"][connections]["errors"] for figures in rounds)
    text = f"{figures[0]:,.0f} · {milliseconds(figures[1])} · {milliseconds(figures[2])}"
    return text + (f" · **{errors} errors**" if errors else "")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def markdown(results):
    """Tables for each network, and what was aimed at."""
    settings, machine, servers = results["settings"], results["machine"], results["servers"]
    levels = [str(connections) for connections in settings["connections"]]
    parts = [
        f"{machine['cpus']} CPUs ({machine['cpu']}), shared with the load generator; median of {settings['rounds']} rounds of"
        f" {settings['seconds']} s. Requests/s · p50 · p99 at so many connections; CPU and memory"
        f" at {levels[-1]}. Memory is that of all processes, shared pages counted once (in brackets: resident sizes summed)."
    ]
    for network, title in NETWORKS.items():
        rows = []
        for server in servers.values():
            rounds = server["rounds"].get(network)
            if not rounds:
                if failure := server["failures"].get(network):
                    rows.append([server["name"], failure.replace("|", "/"), *[""] * (len(levels) + 2)])
                continue
            most = levels[-1]
            cpu = median(rounds, "load", most, "cpu_seconds_per_request") * 1e6
            proportional = median(rounds, "load", most, "proportional_bytes")
            resident = median(rounds, "load", most, "resident_bytes")
            rows.append(
                [
                    server["name"],
                    *(cell(rounds, connections) for connections in levels),
                    f"{cpu:,.0f} µs",
                    f"{megabytes(proportional)} ({megabytes(resident)})",
                    milliseconds(median(rounds, "start_seconds")),
                ]
            )
        if rows:
            head = ["server", *levels, "CPU a request", "memory", "start to first answer"]
            parts += [f"**{title}**", table(head, rows)]
            parts += comparison(servers, network, levels)
    sizes = [
        [server["name"], megabytes(server["installed_bytes"]), ", ".join(server.get("requirements", ["one binary"]))]
        for server in servers.values()
    ]
    parts.append(table(["server", "installed", "of"], sizes))
    return "\n\n".join(parts) + "\n"


def comparison(servers, network, levels):
    """Irori against the best of its peers."""
    irori = servers.get("irori", {}).get("rounds", {}).get(network)
    peers = {
        s["name"]: s["rounds"][network] for key, s in servers.items() if key != "irori" and s["rounds"].get(network)
    }
    if not irori or not peers:
        return []
    parts = []
    for connections in levels:
        mine = median(irori, "load", connections, "requests_per_second")
        best = max(peers, key=lambda name: median(peers[name], "load", connections, "requests_per_second"))
        ratio = mine / median(peers[best], "load", connections, "requests_per_second")
        quickest = min(peers, key=lambda name: median(peers[name], "load", connections, "p99_seconds"))
        p99 = median(irori, "load", connections, "p99_seconds")
        other = median(peers[quickest], "load", connections, "p99_seconds")
        parts.append(
            f"- at {connections}: {ratio:.2f} times the requests/s of {best}; p99 {milliseconds(p99)}, the lowest of"
            f" the others {milliseconds(other)} ({quickest})"
        )
    return ["\n".join(parts)]


def write_readme(readme, text):
    """Replaces what stands between the README's two marks."""
    before, begin, rest = readme.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise SystemExit(f"{readme} has no {' … '.join(MARKS)}")
    readme.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
