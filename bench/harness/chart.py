# SPDX-License-Identifier: BSL-1.0
"""Charts as SVG: bars of the ratios of each workload of a group, and curves."""

import math
from html import escape

OURS, OTHERS, REFERENCE, SPREAD, GRID, TEXT = "#c2410c", "#64748b", "#94a3b8", "#0f172a", "#e2e8f0", "#0f172a"
SERIES = {"coir": OURS, "coir_net": "#f59e0b"}
PALETTE = ["#64748b", "#2563eb", "#059669", "#7c3aed", "#db2777", "#0891b2"]
WIDTH, LABELS, FIGURES = 860, 130, 190


class Drawing:
    def __init__(self, width, height):
        self.size = (width, height)
        self.parts = []

    def line(self, x1, y1, x2, y2, colour, width=1.0):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"/>')

    def bar(self, x, y, width, height, colour, title=""):
        inside = f"<title>{escape(title)}</title>" if title else ""
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" '
                          f'fill="{colour}">{inside}</rect>')

    def text(self, x, y, what, anchor="start", size=12, weight="normal", colour=TEXT):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                          f'font-weight="{weight}" fill="{colour}">{escape(what)}</text>')

    def curve(self, points, colour, width):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 1}" fill="{colour}"/>' for x, y in points]

    def svg(self):
        width, height = self.size
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
                f'height="{height:.0f}" font-family="system-ui, sans-serif">\n'
                f'<rect width="{width}" height="{height:.0f}" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def short(number):
    if abs(number) >= 10_000_000:
        return f"{number / 1e6:,.0f}M"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}" if abs(number) < 10 else f"{number:.1f}"


def is_ours(peer):
    return peer.startswith("coir") or peer in ("patched", "preloaded", "inside", "outside")


def ticks(low, high, logarithmic):
    if logarithmic:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [digit * 10.0**e for e in exponents for digit in (1, 2, 5)]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) < 3:  # less than a decade
            step = 10.0**math.floor(math.log10(high))
            step /= next((part for part in (1, 2, 5, 10, 20) if (high - low) / step * part >= 3), 50)
            found = [i * step for i in range(math.ceil(low / step), int(high / step) + 1)]
        return found if len(found) <= 9 else [tick for tick in found if f"{tick:e}"[0] == "1"]
    step = 10.0**math.floor(math.log10(high / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if high / (step * factor) <= 6)
    return [i * step for i in range(int(high / step) + 1)]


def bars(results, names):
    """A panel for each workload: a bar for each peer, from 1 (the reference) to its ratio where the scale is
    logarithmic, from 0 where it is not; the thin line is from the smallest to the largest of the rounds."""
    panels = [(name, results["workloads"][name]) for name in names if results["workloads"].get(name, {}).get("summary")]
    row, head, foot = 20, 34, 30
    drawing = Drawing(WIDTH, sum(head + row * len(panel["summary"]) + foot for _, panel in panels) + 8)
    top = 8
    for name, panel in panels:
        summary = panel["summary"]
        by_ratio = all("ratio" in line for line in summary.values())
        keys = ("ratio", "ratio_min", "ratio_max") if by_ratio else ("median", "min", "max")
        low = min(line[keys[1]] for line in summary.values())
        high = max(max(line[keys[2]] for line in summary.values()), 1e-9)
        logarithmic = by_ratio and low > 0 and high / low > 6
        low = min(low, 1.0) * 0.95 if logarithmic else 0.0
        high *= 1.05
        span = WIDTH - LABELS - FIGURES
        base = math.log(low) if logarithmic else 0.0

        def place(value, logarithmic=logarithmic, base=base, high=high, span=span):
            value = (math.log(value) - base) / (math.log(high) - base) if logarithmic else value / high
            return LABELS + value * span

        drawing.text(8, top + 14, name, weight="bold", size=13)
        unit = f"ratio to {panel['reference']}" if by_ratio else panel["unit"]
        drawing.text(LABELS, top + 14, f"{panel['title']}; {unit}{', logarithmic' if logarithmic else ''}",
                     size=11, colour="#475569")
        bottom = top + head + row * len(summary)
        for tick in ticks(low, high, logarithmic):
            drawing.line(place(tick), top + head - 6, place(tick), bottom, GRID)
            drawing.text(place(tick), bottom + 13, short(tick), "middle", 10, colour="#475569")
        if by_ratio:
            drawing.line(place(1), top + head - 8, place(1), bottom, REFERENCE, 2)
        for index, (peer, line) in enumerate(summary.items()):
            y = top + head + index * row
            origin = place(1) if logarithmic else LABELS
            end = place(line[keys[0]])
            colour = OURS if is_ours(peer) else REFERENCE if peer == panel["reference"] else OTHERS
            figures = f"{short(line['median'])} {panel['unit'].split(' per ')[0].split()[0]}"
            figures += f"   {line['ratio']:.2f} x" if "ratio" in line else ""
            drawing.text(LABELS - 8, y + 11, peer, "end", weight="bold" if is_ours(peer) else "normal")
            drawing.bar(min(origin, end), y + 1, abs(end - origin), row - 7, colour, f"{peer}: {figures}")
            drawing.line(place(line[keys[1]]), y + 7.5, place(line[keys[2]]), y + 7.5, SPREAD)
            drawing.text(WIDTH - FIGURES + 10, y + 11, figures, size=11)
        top = bottom + foot
    return drawing.svg() if panels else None


def curves(results, names):
    """A panel for each curve: what an operation costs at several numbers of fibers, both scales logarithmic."""
    families = {}
    for name in names:
        workload = results["workloads"].get(name)
        if workload and workload.get("curve") and workload["summary"]:
            families.setdefault(workload["curve"], []).append(workload)
    if not families:
        return None
    height, margin = 300, 70
    drawing = Drawing(WIDTH, height * len(families) + 8)
    for number, (family, points) in enumerate(families.items()):
        top, bottom = number * height + 40, number * height + height - 34
        left, right = margin, WIDTH - 150
        everything = [line["median"] for point in points for line in point["summary"].values()]
        low, high = min(everything) * 0.8, max(everything) * 1.25
        first, last = min(point["at"] for point in points), max(point["at"] for point in points)

        def x_of(at, first=first, last=last, left=left, right=right):
            return left + (math.log(at / first) / math.log(last / first) if last > first else 0) * (right - left)

        def y_of(value, low=low, high=high, top=top, bottom=bottom):
            return bottom - math.log(value / low) / math.log(high / low) * (bottom - top)

        drawing.text(8, top - 20, family, weight="bold", size=13)
        drawing.text(130, top - 20, f"{points[0]['unit']}, by the number of fibers; both logarithmic", size=11,
                     colour="#475569")
        for tick in ticks(low, high, True):
            drawing.line(left, y_of(tick), right, y_of(tick), GRID)
            drawing.text(left - 6, y_of(tick) + 4, short(tick), "end", 10, colour="#475569")
        for point in points:
            drawing.line(x_of(point["at"]), top, x_of(point["at"]), bottom, GRID)
            drawing.text(x_of(point["at"]), bottom + 14, f"{point['at']:,}", "middle", 10, colour="#475569")
        labels, others = [], iter(PALETTE)
        for peer in dict.fromkeys(peer for point in points for peer in point["summary"]):
            line = [(x_of(point["at"]), y_of(point["summary"][peer]["median"])) for point in points
                    if peer in point["summary"]]
            colour = SERIES.get(peer) or next(others, OTHERS)
            drawing.curve(line, colour, 3 if peer in SERIES else 1.5)
            labels.append([line[-1][1], peer, colour])
        labels.sort()
        for index, (y, peer, colour) in enumerate(labels):
            labels[index][0] = max(y, labels[index - 1][0] + 14) if index else y
            drawing.text(right + 10, labels[index][0] + 4, peer, colour=colour,
                         weight="bold" if peer in SERIES else "normal")
    return drawing.svg()
