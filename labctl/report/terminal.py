"""Small plots in the terminal, by plotext, which is pinned: its next major version draws differently."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

SIGNS = ("hd", "o", "+", "x")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def convergence(
    values: Sequence[tuple[int, float]],
    direction: str,
    label: str,
    *,
    width: int = 76,
    height: int = 14,
    color: bool = False,
) -> str:
    """Each measured value by number of the experiment, and the best so far as a line.

    Parameters
    ----------
    values
        Number of the experiment and what it measured, in order.
    direction
        ``maximize`` or ``minimize``.
    color
        Whether escape codes may be used.
    """
    import plotext

    better = max if direction == "maximize" else min
    numbers = [n for n, _ in values]
    best, so_far = values[0][1], []
    for _, value in values:
        best = better(best, value)
        so_far.append(best)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, height)
    plotext.plot(numbers, so_far, marker="hd", label="best so far")
    plotext.scatter(numbers, [v for _, v in values], marker="o", label="measured")
    ticks = sorted({round(numbers[0] + (numbers[-1] - numbers[0]) * i / 4) for i in range(5)})
    plotext.xticks(ticks, [str(t) for t in ticks])  # there is no experiment 8.2
    plotext.xlabel("experiment")
    plotext.title(label)
    drawn = str(plotext.build())
    plotext.clear_figure()
    return drawn if color else "\n".join(line.rstrip() for line in ESCAPES.sub("", drawn).splitlines())


def curves(
    series: Mapping[str, Sequence[float]],
    label: str,
    xlabel: str,
    *,
    at: Sequence[int] | None = None,
    width: int = 76,
    height: int = 16,
    color: bool = False,
) -> str:
    """Lines over `at`, else over 1, 2, 3, ..., each with its name and a sign of its own."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, height)
    for (name, values), sign in zip(series.items(), SIGNS * len(series), strict=False):
        plotext.plot(list(at or range(1, len(values) + 1)), list(values), marker=sign, label=name)
    plotext.xlabel(xlabel)
    plotext.title(label)
    drawn = str(plotext.build())
    plotext.clear_figure()
    return drawn if color else "\n".join(line.rstrip() for line in ESCAPES.sub("", drawn).splitlines())


def scatter(
    across: Sequence[float], up: Sequence[float], xlabel: str, label: str, *, width: int = 56, height: int = 16
) -> str:
    """Points, and the diagonal on which both are equal."""
    import plotext

    ends = [min([*across, *up]), max([*across, *up])]
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, height)
    plotext.plot(ends, ends, marker=".")
    plotext.scatter(list(across), list(up), marker="o")
    plotext.xlabel(xlabel)
    plotext.title(label)
    drawn = str(plotext.build())
    plotext.clear_figure()
    return "\n".join(line.rstrip() for line in ESCAPES.sub("", drawn).splitlines())


def slice_plot(
    at: Sequence[float],
    mean: Sequence[float],
    sd: Sequence[float],
    here: float,
    xlabel: str,
    label: str,
    *,
    width: int = 76,
    height: int = 14,
) -> str:
    """A prediction along one line, with two standard deviations on either side and the place of a candidate."""
    import plotext

    low, high = ([m + sign * 2 * s for m, s in zip(mean, sd, strict=True)] for sign in (-1, 1))
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, height)
    plotext.plot(list(at), list(mean), marker="hd")
    for edge in (low, high):
        plotext.scatter(list(at), edge, marker=".")
    nearest = min(range(len(at)), key=lambda i: abs(at[i] - here))
    plotext.scatter([at[nearest]], [mean[nearest]], marker="X")  # no legend: it would cover the candidate
    plotext.xlabel(xlabel)
    plotext.title(label)
    drawn = str(plotext.build())
    plotext.clear_figure()
    return "\n".join(line.rstrip() for line in ESCAPES.sub("", drawn).splitlines())
