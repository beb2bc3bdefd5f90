"""The report's figures as SVG text: matplotlib without its global state, the same bytes for the same data.

Colours are those of Okabe and Ito (2008) for series and states, cividis for fields; a
marker or a word always says the same as the colour.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labctl.report.data import Line, ReportData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777", "#56B4E9"
STATE_COLOURS = {"done": GREEN, "failed": RED, "aborted": GREY, "in_doubt": ORANGE}
STATE_HATCH = {"done": "", "failed": "////", "aborted": "..", "in_doubt": "xx"}


def new_figure(width: float = 8.0, height: float = 3.6) -> tuple[Figure, Axes]:
    """An empty figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def svg(figure: Figure) -> str:
    """The figure as an <svg> element as wide as its page lets it be."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "labctl", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL).strip()


def unique_ids(text: str, prefix: str) -> str:
    """Ids of one figure made different from those of the others on the page."""
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)


def convergence(data: ReportData) -> str:
    """Every measurement with its uncertainty, the best so far as a line, failed experiments below."""
    figure, axes = new_figure()
    measured = data.measured
    if measured:
        numbers, values = [m.number for m in measured], [m.value or 0.0 for m in measured]
        axes.errorbar(
            numbers,
            values,
            yerr=[2 * (m.u or 0.0) for m in measured],
            fmt="o",
            color=BLUE,
            markersize=4,
            label="measured, k = 2",
        )
        fit, so_far = data.fit, best_so_far(data)
        axes.step([m.number for m in fit], so_far, where="post", color=ORANGE, linewidth=2, label="best so far")
        broken = [m for m in measured if m.broken]
        if broken:
            places = [m.number for m in broken], [m.value or 0.0 for m in broken]
            axes.plot(*places, "s", color=RED, fillstyle="none", markersize=8, label="breaks a limit")
    aimed_at(axes, data)
    lost = [
        line.number
        for line in data.lines
        if line.value is None and line.experiment.state in ("failed", "aborted", "held")
    ]
    if lost:
        floor = axes.get_ylim()[0]
        axes.plot(lost, [floor] * len(lost), "x", color=RED, label="no value", clip_on=False)
    axes.set_xlabel("experiment")
    axes.set_ylabel(f"{data.quantity} [{data.unit}]")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", frameon=False)
    return unique_ids(svg(figure), "convergence")


def best_so_far(data: ReportData) -> list[float]:
    """The best value of those that keep all limits, after each of them."""
    found: list[float] = []
    for line in data.fit:
        value = line.value or 0.0
        better = not found or data.merit.worth(value) > data.merit.worth(found[-1])
        found.append(value if better else found[-1])
    return found


def aimed_at(axes: Axes, data: ReportData) -> None:
    """Target or band, if there is one."""
    if data.merit.band is not None:
        axes.axhspan(*data.merit.band, color=GREEN, alpha=0.15, label="wanted")
    elif data.merit.target is not None:
        axes.axhline(data.merit.target, color=GREEN, linestyle="--", linewidth=1, label="target")


def front(data: ReportData) -> tuple[str, str] | None:
    """The first two objectives of every experiment with the Pareto front of all objectives, and what it is."""
    if len(data.merit.aims) < 2:
        return None
    one, two = data.merit.aims[:2]
    drawn = [m for m in data.measured if two.quantity in m.values]
    if not drawn:
        return None
    figure, axes = new_figure(6.4, 4.6)
    kinds = (
        ("on the front", "o", ORANGE, [m for m in drawn if m.on_front]),
        ("breaks a limit", "x", RED, [m for m in drawn if m.broken]),
        ("others", ".", GREY, [m for m in drawn if not m.on_front and not m.broken]),
    )
    for label, marker, colour, lines in kinds:
        if lines:
            (x, dx), (y, dy) = columns(lines, one.quantity), columns(lines, two.quantity)
            axes.errorbar(x, y, xerr=dx, yerr=dy, fmt=marker, color=colour, markersize=5, elinewidth=0.8, label=label)
    points = sorted((m.values[one.quantity][0], m.values[two.quantity][0]) for m in drawn if m.on_front)
    if len(data.merit.aims) == 2 and points:  # with more objectives its projection is no line
        axes.plot([x for x, _ in points], [y for _, y in points], color=ORANGE, linewidth=1)
    axes.set_xlabel(f"{one.quantity} [{one.unit}], {one.direction}")
    axes.set_ylabel(f"{two.quantity} [{two.unit}], {two.direction}")
    axes.legend(loc="best", frameon=False)
    words = f"{len(data.front)} of {len(drawn)} experiments are on the front: no other is better in every objective"
    return unique_ids(svg(figure), "front"), words


def columns(lines: list[Line], quantity: str) -> tuple[list[float], list[float]]:
    """Values of a property and their expanded uncertainties, k = 2."""
    return [m.values[quantity][0] for m in lines], [2 * m.values[quantity][1] for m in lines]


def predicted(data: ReportData) -> tuple[str, str] | None:
    """Predicted against measured with 95 % intervals, and how many fell inside, in words."""
    pairs = [m for m in data.measured if m.candidate.predicted is not None]
    if not pairs:
        return None
    figure, axes = new_figure(5.2, 4.4)
    said = [m.candidate.predicted or 0.0 for m in pairs]
    found = [m.value or 0.0 for m in pairs]
    doubt = [1.96 * interval(m) for m in pairs]
    axes.errorbar(found, said, yerr=doubt, fmt="o", color=BLUE, markersize=4, elinewidth=1)
    ends = [min([*said, *found]), max([*said, *found])]
    axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1)
    axes.set_xlabel(f"measured [{data.unit}]")
    axes.set_ylabel(f"predicted [{data.unit}]")
    inside = sum(abs(s - f) <= d for s, f, d in zip(said, found, doubt, strict=True))
    return unique_ids(svg(figure), "predicted"), f"{inside} of {len(pairs)} measurements lie within their 95 % interval"


def interval(line: Line) -> float:
    """Doubt of a prediction about a measurement: of the mean and of the measuring."""
    return float(((line.candidate.predicted_u or 0.0) ** 2 + (line.u or 0.0) ** 2) ** 0.5)


def map_of(data: ReportData) -> tuple[str, str] | None:
    """The composition map and what it is: a ternary plot for three components, else parallel coordinates."""
    varied = [name for name in data.components if len({line.requested.get(name, 0.0) for line in data.lines}) > 1]
    if not data.lines or not (varied or data.process):
        return None
    if len(varied) == 3 and not data.process:
        return unique_ids(svg(ternary(data, varied)), "map"), f"ternary map of {', '.join(varied)}"
    return unique_ids(
        svg(parallel(data, varied or list(data.components))), "map"
    ), "one line per experiment, coloured by value"


def colours(data: ReportData) -> tuple[Any, Any]:
    """Norm and map of the measured values."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    values = [m.value or 0.0 for m in data.measured] or [0.0, 1.0]
    return Normalize(min(values), max(values)), colormaps["cividis"]


def parallel(data: ReportData, names: list[str]) -> Figure:
    """Each component and setting an upright axis, each experiment a line across them."""
    from matplotlib.cm import ScalarMappable

    figure, axes = new_figure(8.0, 3.8)
    numeric = [p for p in data.process if all(not isinstance(x.candidate.process.get(p), str) for x in data.lines)]
    columns = [*names, *numeric]
    low_high = {c: bounds(data, c) for c in columns}
    norm, scale = colours(data)
    ordered = sorted(data.lines, key=lambda x: (x.value is not None, data.merit.worth(x.value or 0.0)))
    for line in ordered:
        heights = [scaled(at(line, c), low_high[c]) for c in columns]
        if line.value is None:
            axes.plot(range(len(columns)), heights, color=RED, linestyle=":", linewidth=1)
        else:
            axes.plot(range(len(columns)), heights, color=scale(norm(line.value)), linewidth=1.4)
    axes.set_xticks(range(len(columns)), [f"{c}\n{low_high[c][0]:.3g} to {low_high[c][1]:.3g}" for c in columns])
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    figure.colorbar(ScalarMappable(norm, scale), ax=axes, label=f"{data.quantity} [{data.unit}]")
    return figure


def at(line: Line, column: str) -> float:
    """Value of a component or setting."""
    if column in line.candidate.process:
        return float(line.candidate.process[column])
    return line.requested.get(column, 0.0)


def bounds(data: ReportData, column: str) -> tuple[float, float]:
    """Smallest and largest value tried."""
    values = [at(line, column) for line in data.lines]
    return min(values), max(values)


def scaled(value: float, low_high: tuple[float, float]) -> float:
    """Share of the way from low to high."""
    low, high = low_high
    return (value - low) / (high - low) if high > low else 0.5


def ternary(data: ReportData, names: list[str]) -> Figure:
    """Points in a triangle whose corners are the pure components."""
    from matplotlib.cm import ScalarMappable

    figure, axes = new_figure(5.4, 4.6)
    axes.set_axis_off()
    axes.set_aspect("equal")
    corners = [(0.0, 0.0), (1.0, 0.0), (0.5, 3**0.5 / 2)]
    axes.plot(*zip(*[*corners, corners[0]], strict=True), color=GREY, linewidth=1)
    for (x, y), name, offset in zip(corners, names, (-0.05, -0.05, 0.04), strict=True):
        axes.text(x, y + offset, name, ha="center", va="center")
    norm, scale = colours(data)
    for line in data.lines:
        shares = [line.requested.get(n, 0.0) for n in names]
        total = sum(shares) or 1.0
        x = sum(s / total * c[0] for s, c in zip(shares, corners, strict=True))
        y = sum(s / total * c[1] for s, c in zip(shares, corners, strict=True))
        if line.value is None:
            axes.plot([x], [y], "x", color=RED)
        else:
            axes.plot([x], [y], "o", color=scale(norm(line.value)), markeredgecolor=GREY, markersize=7)
    figure.colorbar(ScalarMappable(norm, scale), ax=axes, label=f"{data.quantity} [{data.unit}]", shrink=0.8)
    return figure


def time_line(data: ReportData) -> str | None:
    """When each instrument worked, in lab time."""
    if not data.bars:
        return None
    names = sorted({bar.instrument for bar in data.bars})
    figure, axes = new_figure(8.0, 1.0 + 0.55 * len(names))
    begin = min(bar.start for bar in data.bars)
    drawn = set()
    for bar in data.bars:
        left, width = (bar.start - begin).total_seconds() / 3600, (bar.end - bar.start).total_seconds() / 3600
        label = bar.state if bar.state not in drawn else None
        drawn.add(bar.state)
        axes.barh(
            names.index(bar.instrument), width, left=left, height=0.7, label=label,
            color=STATE_COLOURS.get(bar.state, SKY), hatch=STATE_HATCH.get(bar.state, ""), edgecolor="white", linewidth=0.4,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("lab time [h]")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=4, frameon=False)
    return unique_ids(svg(figure), "time")


COUNTED = {
    "top": "share of the attainable top 5 % found",
    "hypervolume": "share of the front's hypervolume",
    "distance": "smallest distance to what is wanted",
    "map error": "root mean square error over all rows",
}


def found_curves(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """What each method has found after so many experiments, with a band of one standard error."""
    figure, axes = new_figure(7.0, 4.2)
    styles = zip((BLUE, ORANGE, GREEN, RED), ("-", "--", ":", "-."), strict=True)
    for row, (colour, style) in zip(rows, styles, strict=False):
        numbers = row.get("at") or range(1, len(row["curve"]) + 1)
        axes.plot(numbers, row["curve"], color=colour, linestyle=style, linewidth=2, label=row["method"])
        low, high = (
            [v + sign * (e or 0.0) for v, e in zip(row["curve"], row["curve_se"], strict=True)] for sign in (-1, 1)
        )
        axes.fill_between(numbers, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("experiments")
    axes.set_ylabel(COUNTED[rows[0]["scored_by"]])
    axes.set_title(title)
    falling = rows[0]["scored_by"] in ("distance", "map error")
    axes.legend(loc="upper right" if falling else "upper left", frameon=False)
    return figure


def slices(about: Sequence[Mapping[str, Any]], quantity: str, value: float | None = None) -> Figure:
    """Predictions along each component and setting through one candidate, on one scale.

    Parameters
    ----------
    about
        Of each slice ``at``, ``mean``, ``sd``, ``here``, ``label``; and ``results``, place and value of all that
        was known, which lie off the slice in everything else.
    value
        What the candidate was measured to be.
    """
    from matplotlib.figure import Figure

    across = 2 if len(about) == 4 else min(3, len(about))
    down = -(-len(about) // across)
    figure = Figure(figsize=(3.3 * across + 0.6, 2.7 * down + 0.6), layout="constrained")
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes, one in zip(grid.flat, about, strict=False):
        draw_slice(axes, one, value)
    for axes in list(grid.flat)[len(about) :]:
        axes.set_visible(False)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.supylabel(quantity)
    return figure


def draw_slice(axes: Axes, one: Mapping[str, Any], value: float | None) -> None:
    """One slice: prediction, two standard deviations, the candidate's place, what was known."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    if isinstance(one["at"][0], str):
        reach = [2 * s for s in one["sd"]]
        axes.errorbar(one["at"], one["mean"], yerr=reach, fmt="s", color=BLUE, capsize=4, label="predicted, 2 sd")
    else:
        low, high = ([m + sign * 2 * s for m, s in zip(one["mean"], one["sd"], strict=True)] for sign in (-1, 1))
        axes.plot(one["at"], one["mean"], color=BLUE, linewidth=2, label="predicted")
        axes.fill_between(one["at"], low, high, color=BLUE, alpha=0.15, linewidth=0, label="2 standard deviations")
    if one["results"]:
        across, up = zip(*one["results"], strict=True)
        axes.plot(across, up, "o", color=GREY, markersize=4, alpha=0.6, label="results known, others differ")
    axes.axvline(one["here"], color=ORANGE, linestyle="--", label="this candidate")
    if value is not None:
        axes.plot([one["here"]], [value], "D", color=ORANGE, markeredgecolor="black", label="as it turned out")
    axes.set_xlabel(one["label"])
