# SPDX-License-Identifier: BSL-1.0
"""Fills the parts of a Markdown file that are between `<!-- bench: WHAT -->` and `<!-- bench end -->`; the rest is
written by hand. WHAT is `conditions`, `summary`, `group NAME`, or `flame NAME`."""

import os
import re

from harness import chart, workloads
from harness.chart import short

PART = re.compile(r"(<!-- bench: (\w+) ?([\w-]*) -->\n).*?(<!-- bench end -->)", re.DOTALL)


def table(head, rows):
    def line(cells):
        return "| " + " | ".join(cells) + " |"

    return "\n".join([line(head), line(["---"] + ["---:"] * (len(head) - 1)), *map(line, rows)])


def conditions(results):
    about = results["conditions"]
    return (f"{about['date'][:10]}, {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, load "
            f"{about['load']:.2f} at the beginning. {results['rounds']} rounds at most, {about['seconds']:.0f} s; the "
            f"host kept {about['stolen_seconds']:.1f} s of CPU time from the machine meanwhile. "
            f"{about.get('versions', '')}")


def best_of(summary, ours):
    found = [(line["median"], peer) for peer, line in summary.items()
             if chart.is_ours(peer) == ours and peer not in workloads.LIMITS]
    return min(found) if found else None


def summary(results):
    """A line for each workload that has somebody else in it than a limit."""
    rows, lost = [], []
    for name, workload in results["workloads"].items():
        ours, best = best_of(workload["summary"], True), best_of(workload["summary"], False)
        if not ours or not best or workload.get("curve"):
            continue
        line = workload["summary"][ours[1]]
        ratio = f"{line['ratio']:.2f}" if "ratio" in line else ""
        who = f"{best[1]}, {short(best[0])}"
        ahead = best[0] < ours[0]
        rows.append([f"`{name}`", workload["unit"], f"{short(ours[0])} ({ours[1]})", ratio, workload["goal"] or "",
                     f"**{who}**" if ahead else who])
        if ahead:
            winners = [f"{peer} ({short(one['median'])})" for peer, one in
                       sorted(workload["summary"].items(), key=lambda item: item[1]["median"])
                       if one["median"] < ours[0] and not chart.is_ours(peer) and peer not in workloads.LIMITS]
            lost.append(f"- `{name}`, {workload['title']}: " + ", ".join(winners) + f"; {ours[1]} {short(ours[0])} "
                        f"{workload['unit']}")
    text = table(["workload", "unit", "coir's best", "ratio to the reference", "goal", "best peer"], rows)
    text += "\n\nWhere peers are ahead (medians; within the spread that is a draw):\n\n"
    return text + ("\n".join(lost) if lost else "- nowhere in this run")


def one_workload(name, workload):
    lines = workload["summary"]
    titles = [title for title, *_ in workload["extras"] if any(title in line for line in lines.values())]
    titles += [title for title in ("calls", "instructions") if any(title in line for line in lines.values())]
    head = ["", workload["unit"], "min to max", f"x {workload['reference']}", "min to max", *titles]
    if not any("ratio" in line for line in lines.values()):
        head[3:5] = []
    rows = []
    for peer, line in lines.items():
        ratio = [f"{line['ratio']:.2f}", f"{line['ratio_min']:.2f} to {line['ratio_max']:.2f}"] if "ratio" in line \
            else ["", ""]
        rows.append([f"**{peer}**" if chart.is_ours(peer) else peer, short(line["median"]),
                     f"{short(line['min'])} to {short(line['max'])}", *(ratio if len(head) > 3 + len(titles) else []),
                     *(short(line[title]) if title in line else "" for title in titles)])
    goal = f"; goal for coir: {workload['goal']}" if workload["goal"] else ""
    text = f"`{name}`: {workload['title']}{goal}\n\n" + table(head, rows)
    for note in workload["missing"] + [f"failed: {peer}: {why[-1]}" for peer, why in workload["failed"].items()]:
        text += f"\n\n{note}"
    return text


def curve_table(points):
    peers = dict.fromkeys(peer for point in points for peer in point["summary"])
    return f"`{points[0]['curve']}`: {points[0]['unit']}\n\n" + table(
        ["", *(f"{point['at']:,}" for point in points)],
        [[f"**{peer}**" if chart.is_ours(peer) else peer,
          *(short(point["summary"][peer]["median"]) if peer in point["summary"] else "" for point in points)]
         for peer in peers])


def group(results, name, image):
    _, names = workloads.GROUPS[name]
    here = [(each, results["workloads"][each]) for each in names if each in results["workloads"]]
    if not here:
        return "Not part of this run."
    parts, curves = [], {}
    for each, workload in here:
        if workload.get("curve"):
            curves.setdefault(workload["curve"], []).append(workload)
        else:
            parts.append(one_workload(each, workload))
    parts += [curve_table(points) for points in curves.values()]
    return "\n\n".join(parts + image)


def write(results, file, pictures):
    def image(name, what):
        path = pictures and pictures / f"{name}.svg"
        if not path or not path.exists():
            return []
        return [f"![{what}]({os.path.relpath(path, file.parent)})"]

    def fill(match):
        begin, what, name, end = match.groups()
        if what == "conditions":
            text = conditions(results)
        elif what == "summary":
            text = summary(results)
        elif what == "flame":
            shares = results.get("flames", {}).get(name, {})
            if not shares:
                return match[0]
            text = "\n\n".join([", ".join(f"{part} {share:.0f} %" for part, share in shares.items()) + ".",
                                *image(f"flame-{name}", f"flame graph of {name}")])
        else:
            text = group(results, name, image(name, workloads.GROUPS[name][0]))
        return f"{begin}\n{text}\n\n{end}"

    file.write_text(PART.sub(fill, file.read_text()))


def plot(results, directory):
    directory.mkdir(parents=True, exist_ok=True)
    for name, (_, names) in workloads.GROUPS.items():
        for made in (chart.curves(results, names) or chart.bars(results, names),):
            if made:
                (directory / f"{name}.svg").write_text(made)
