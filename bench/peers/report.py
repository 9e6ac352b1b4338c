"""What peers.py prints and writes: rows, the table, JSON, the chart."""
import contextlib
import fcntl
import json
import math


def cpu_fact(key):
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith(key)), "unknown")


def cpu_name():
    return cpu_fact("model name")


def cpu_flags():
    return cpu_fact("flags").split()


@contextlib.contextmanager
def held(path):
    if not path:
        yield
        return
    with open(path, "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def title(line):
    return f"{line['model']}, batch {line['batch']}{', training step' if line['train'] else ''}, {line['threads']} thread{'s' * (line['threads'] > 1)}"


def print_row(row, threads, lines, seconds):
    print(f"{title(lines[0])} ({seconds:.0f} s)")
    for line in sorted(lines, key=lambda l: l["median_ms"]):
        share = f"{100 * line['peak_share']:4.0f} %" if line["peak_share"] else "      "
        ratio = f"{line['ratio_to_best_peer']:5.2f}" if line["ratio_to_best_peer"] else "    -"
        print(f"  {line['engine']:12} {line['median_ms']:10.4f} ms  +-{50 * line['spread']:3.0f} %  least {line['least_ms']:9.4f}  ratio {ratio}  peak {share}  cores {line['cores']:4.2f}"
              f"  load {line['load_ms']:7.0f} ms  memory {line['memory_mib']:6.0f} MiB  difference {line['difference']:.1e}  [{line['flags']}]")
    ours = lines[0]
    if row["bar"] and ours["ratio_to_best_peer"]:
        met = ours["ratio_to_best_peer"] >= row["bar"]
        print(f"  fovea is {ours['ratio_to_best_peer']:.2f} times as fast as the best peer ({ours['ratio_of_least']:.2f} by the fastest runs); wanted {row['bar']:g}: {'met' if met else 'MISSED'}")
    print(flush=True)


def rows_of(lines):
    """(model, batch, train, threads) -> engine -> line, in order."""
    rows = {}
    for line in lines:
        rows.setdefault((line["model"], line["batch"], line["train"], line["threads"]), {})[line["engine"]] = line
    return rows


def milliseconds(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(lines):
    engines = [e for e in dict.fromkeys(line["engine"] for line in lines)]
    out = ["| ms, median | threads | " + " | ".join(engines) + " | ratio to the best peer |", "|---|---|" + "---|" * (len(engines) + 1)]
    for (model, batch, train, threads), row in rows_of(lines).items():
        cells = [milliseconds(row[e]["median_ms"]) if e in row else "-" for e in engines]
        ratio = row["fovea"]["ratio_to_best_peer"]
        cells.append(f"{ratio:.2f}" if ratio else "-")
        out.append(f"| {model}, batch {batch}{', training' if train else ''} | {threads} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def means(lines):
    out = []
    for train in (False, True):
        ratios = [l["ratio_to_best_peer"] for l in lines
                  if l["engine"] == "fovea" and l["train"] == train and l["model"] != "no-op" and l["ratio_to_best_peer"]]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            out.append(f"{'training' if train else 'inference'}: geometric mean of {len(ratios)} rows {mean:.2f}, least {min(ratios):.2f}")
    return out


def chart(path, lines):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plot
    rows = {key: row for key, row in rows_of(lines).items() if key[0] != "no-op"}
    engines = [e for e in dict.fromkeys(line["engine"] for line in lines)]
    figure, axes = plot.subplots(figsize=(max(8, 0.9 * len(rows)), 5))
    for k, engine in enumerate(engines):
        at = [i + (k - len(engines) / 2) * 0.8 / len(engines) for i, row in enumerate(rows.values()) if engine in row]
        axes.bar(at, [row[engine]["ratio_to_best_peer"] or 1 for row in rows.values() if engine in row], 0.8 / len(engines), label=engine)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(rows)), [title(row["fovea"]).replace(", ", "\n") for row in rows.values()], fontsize=7)
    axes.set_ylabel("speed, the best peer = 1")
    axes.legend(fontsize=8, ncols=len(engines))
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def into_readme(path, text):
    first, last = "<!-- peers: made by tools/peers.sh --readme -->", "<!-- /peers -->"
    with open(path) as f:
        old = f.read()
    if first not in old or last not in old:
        raise SystemExit(f"{path} has no place for the table: a line {first} and a line {last}")
    with open(path, "w") as f:
        f.write(old[:old.index(first) + len(first)] + "\n" + text + "\n" + old[old.index(last):])


def finish(options, lines, versions):
    text = table(lines)
    print(text + "\n\n" + "\n".join(means(lines)))
    missed = [l for l in lines if l["engine"] == "fovea" and l["bar"] and l["ratio_to_best_peer"] and l["ratio_to_best_peer"] < l["bar"]]
    for line in missed:
        print(f"below its bar: {title(line)}: {line['ratio_to_best_peer']:.2f} of {line['bar']:g}")
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"cpu": cpu_name(), "versions": versions, "rounds": options.rounds, "seconds": options.seconds, "rows": lines}, f, indent=1)
    chart(options.chart, lines)
    print(f"chart: {options.chart}")
    if options.readme:
        into_readme(options.readme, f"{cpu_name()}, {', '.join(f'{n} {v}' for n, v in versions.items())}:\n\n{text}\n\n{'; '.join(means(lines))}.")
