"""A dashboard as a picture (SVG): its panels where Grafana puts them, with what Prometheus answers to their queries. It is not Grafana's own drawing."""

import html
import json
import math
import re

COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9", "#37872d", "#fade2a", "#8ab8ff", "#ffa6b0"]
# Of Grafana's grid: a column, a row, and what is between panels.
COLUMN, ROW, GAP = 58, 30, 8


def drawn(dashboard, answer, filled, begin, end):
    """The picture. `answer(expression)` gives series over the time from `begin` to `end`, `filled` puts the dashboard's variables into an expression."""
    panels = dashboard["panels"]
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) * ROW + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN + GAP} {height}" font-family="Helvetica, Arial, sans-serif" font-size="11">',
        f'<rect width="{24 * COLUMN + GAP}" height="{height}" fill="#111217"/>',
    ]
    for panel in panels:
        at = panel["gridPos"]
        x, y, width, tall = at["x"] * COLUMN + GAP, at["y"] * ROW + GAP, at["w"] * COLUMN - GAP, at["h"] * ROW - GAP
        if panel["type"] == "row":
            parts.append(f'<text x="{x}" y="{y + 15}" fill="#ccccdc" font-size="14" font-weight="bold">{html.escape(panel["title"])}</text>')
            continue
        series = [(named(target, found["metric"]), numbers(found["values"])) for target in panel["targets"] for found in answer(filled(target["expr"]))]
        unit = panel["fieldConfig"]["defaults"].get("unit", "short")
        parts += one(panel["title"], unit, series, x, y, width, tall, begin, end)
    return "\n".join([*parts, "</svg>\n"])


def named(target, metric):
    return re.sub(r"\{\{(\w+)\}\}", lambda found: metric.get(found[1], ""), target.get("legendFormat", "")) or json.dumps(metric)


def numbers(values):
    return [(float(at), float(value)) for at, value in values if math.isfinite(float(value))]


def one(title, unit, series, x, y, width, tall, begin, end):
    """A panel: its title, a grid, a line for each series, and which is which."""
    legend = series[:6]
    left, right, top, bottom = x + 46, x + width - 8, y + 28, y + tall - 22 - 13 * math.ceil(len(legend) / 2)
    highest = max((value for _, line in series for _, value in line), default=0) or 1
    step = 10 ** math.floor(math.log10(highest))
    step = next(step * part for part in (0.25, 0.5, 1, 2.5) if highest / (step * part) <= 4.001)
    highest = math.ceil(highest / step - 1e-9) * step
    place = lambda at, value: (left + (at - begin) / (end - begin) * (right - left), bottom - value / highest * (bottom - top))
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{tall}" rx="2" fill="#181b1f" stroke="#2d3035"/>'
    yield f'<text x="{x + 8}" y="{y + 17}" fill="#ccccdc" font-size="12" font-weight="bold">{html.escape(title)}</text>'
    for nth in range(round(highest / step) + 1):
        _, level = place(begin, nth * step)
        yield f'<path d="M{left} {level:.1f}H{right}" stroke="#2d3035"/>'
        yield f'<text x="{left - 5}" y="{level + 4:.1f}" fill="#9fa7b3" font-size="10" text-anchor="end">{written(nth * step, unit)}</text>'
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        at = f"{(share - 1) * (end - begin) / 60:.0f} min" if share < 1 else "now"
        yield f'<text x="{left + share * (right - left)}" y="{bottom + 13}" fill="#9fa7b3" font-size="10" text-anchor="{anchor}">{at}</text>'
    for nth, (name, line) in enumerate(series):
        colour = COLOURS[nth % len(COLOURS)]
        pieces, before = [], None
        for at, value in line:
            across, up = place(at, value)
            pieces.append(f"{'L' if before is not None and at - before < (end - begin) / 40 else 'M'}{across:.1f} {up:.1f}")
            before = at
        yield f'<path d="{"".join(pieces)}" fill="none" stroke="{colour}" stroke-width="1.3"/>' if pieces else ""
        if nth < len(legend):
            across, down = x + 10 + nth % 2 * (width - 12) / 2, bottom + 28 + nth // 2 * 13
            yield f'<rect x="{across}" y="{down - 6}" width="9" height="3" fill="{colour}"/>'
            room = int((width - 12) / 2 / 5.6) - 3
            short = name if len(name) <= room else f"…{name[1 - room :]}"
            yield f'<text x="{across + 13}" y="{down}" fill="#ccccdc" font-size="10">{html.escape(short)}</text>'


def written(value, unit):
    """As an axis has it."""
    if unit == "percentunit":
        return f"{value * 100:g} %"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}" + {"s": " s"}.get(unit, "")
