"""The tables of the benchmark, in the order of the issue that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from benchmarks.optimizer import failing, harness, pareto, pool, size, timing, transfer
from benchmarks.optimizer.results import Results, code
from benchmarks.optimizer.tables import Figure, Table, mean, median, over, paired

Row = Mapping[str, Any]
PACKAGES = ("bayesian-optimization", "optuna", "baybe", "botorch", "torch", "ax-platform", "numpy", "scipy")


def show(results: Results, figures: list[str], ours: str) -> None:
    """Print what is known of these figures."""
    print(f"optimizer's code {code()}; " + ", ".join(f"{name} {installed(name)}" for name in PACKAGES))
    print("mean or median (standard error); differences are paired by seed")
    for figure in figures:
        SHOWN[figure](results, figure, ours)


def installed(name: str) -> str:
    """A package's version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def values(results: Results, figure: str, of: Callable[[Row], float]) -> dict[str, dict[str, dict[int, float]]]:
    """One number of every run."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for (peer, problem), rows in results.of(figure).items():
        found.setdefault(peer, {})[problem] = {seed: of(row) for seed, row in rows.items()}
    return found


def cpu(row: Row) -> float:
    """Median CPU milliseconds of a proposal."""
    return float(np.median(row["cpu_ms"]))


# -- pools --------------------------------------------------------------------------------

REACH = {"pool-a": (0.74, 15.5, 0.85), "pool-b": (0.78, 13.0, 0.88)}


def show_pool(results: Results, figure: str, ours: str) -> None:
    """Three figures and the time, for one protocol."""
    known = {name: harness.module("datasets").load(name, str(harness.DATA)) for name in pool.SETS}
    metrics = harness.module("report").metrics
    top: dict[str, Any] = {}
    first: dict[str, Any] = {}
    best: dict[str, Any] = {}
    for (peer, name), rows in results.of(figure).items():
        for seed, row in rows.items():
            m = metrics(row["picks"], known[name])
            top.setdefault(peer, {}).setdefault(name, {})[seed] = m["top_attainable"]
            first.setdefault(peer, {}).setdefault(name, {})[seed] = m["n_1pct"] or pool.BUDGET + 1
            best.setdefault(peer, {}).setdefault(name, {})[seed] = float(m["n_best"] is not None)
    share, evaluations, single = REACH[figure]
    given = "8 random rows given" if figure == "pool-a" else "own start"
    say = f"{figure} ({given}, {pool.BUDGET} in all)"
    Table(title=f"{say}: share of attainable top 5 % found", values=top, problems=pool.SETS, reach=share).show(ours)
    Table(
        title=f"{say}: evaluations until a top-1 % row (not reached = {pool.BUDGET + 1})",
        values=first,
        problems=pool.SETS,
        statistic=median,
        digits=1,
        larger=False,
        reach=evaluations,
    ).show(ours)
    Table(title=f"{say}: runs that find the single best", values=best, problems=pool.SETS, reach=single).show(ours)
    show_cpu(results, figure, pool.SETS)


def show_cpu(results: Results, figure: str, problems: tuple[str, ...]) -> None:
    """What a proposal cost."""
    spent = {p: v for p, v in values(results, figure, cpu).items() if p != "random"}
    Table(
        title=f"{figure}: CPU ms per call", values=spent, problems=problems, statistic=median, digits=1, larger=False
    ).show("")


# -- simplex ------------------------------------------------------------------------------


def show_simplex(results: Results, figure: str, ours: str) -> None:
    """Regret after 60, missed peaks, time; both protocols."""
    last = values(results, figure, lambda row: row["regret"][-1])
    missed = values(results, figure, lambda row: float(row["regret"][-1] > 0.03))
    for p in "ab":
        batch = tuple(f"{name} q4 {p}" for name in ("alloy5", "alloy8", "hart7"))
        single = tuple(f"{name} q1 {p}" for name in ("alloy5", "alloy8", "hart7"))
        goals = {batch[0]: 0.002, batch[1]: 0.004}
        regret_table("median regret after 60, batches of 4", last, batch, median, goals).show(ours)
        regret_table("mean regret after 60, batches of 4", last, batch, mean, {batch[2]: 0.06}).show(ours)
        regret_table("missed peaks: regret above .03", missed, batch[:2], mean, {batch[0]: 1 / 30}).show(ours)
        regret_table("mean regret after 60, one at a time", last, single, mean, {single[2]: 0.06}).show(ours)
        show_cpu(results, figure, batch + single)


def regret_table(
    title: str, known: Any, problems: tuple[str, ...], statistic: Callable[..., Figure], goals: Mapping[str, float]
) -> Table:
    """One of them."""
    return Table(
        title=f"simplex: {title}",
        values=known,
        problems=problems,
        statistic=statistic,
        digits=4,
        larger=False,
        reach_each=goals,
    )


# -- time and memory ----------------------------------------------------------------------


def show_timing(results: Results, figure: str, ours: str) -> None:
    """Milliseconds; imports apart."""
    spent = values(results, figure, lambda row: row["cpu_ms"])
    goals = dict(zip(timing.PROBLEMS, (10, 15, 30, 200), strict=True))
    Table(
        title="CPU ms per proposal, 5-D, 2,000 candidates",
        values=spent,
        problems=timing.PROBLEMS,
        statistic=median,
        digits=1,
        larger=False,
        reach_each=goals,
    ).show(ours)
    for (peer, problem), rows in results.of(figure).items():
        if problem.startswith("restart"):
            print(f"  {peer}: imports take {np.median([r['import_ms'] for r in rows.values()]):.0f} ms of CPU besides")


def show_size(results: Results, figure: str, ours: str) -> None:
    """Seconds and megabytes."""
    print(f"\na proposal after {size.OBSERVATIONS:,} observations (reach: under 2 s, under 500 MB)")
    for (peer, problem), rows in results.of(figure).items():
        s, cpu_s, mb, before = (
            float(np.median([r[key] for r in rows.values()])) for key in ("wall_s", "cpu_s", "peak_mb", "before_mb")
        )
        said = "reached" if cpu_s < 2 and mb < 500 else "short"
        print(f"  {peer} {problem}: {cpu_s:.2f} s CPU ({s:.2f} s wall), peak {mb:.0f} MB (before {before:.0f}): {said}")


# -- two objectives -----------------------------------------------------------------------


def show_pareto(results: Results, figure: str, ours: str) -> None:
    """Hypervolume after 30 and 60, and time."""
    for n in (30, pareto.BUDGET):
        volume = values(results, figure, lambda row, n=n: row["volume"][n // 10 - 1])
        title = f"two objectives: hypervolume after {n}, share of the pool's"
        Table(title=title, values=volume, problems=pareto.PROBLEMS).show(ours)
    show_cpu(results, figure, pareto.PROBLEMS)


# -- failures -----------------------------------------------------------------------------


def show_failing(results: Results, figure: str, ours: str) -> None:
    """How often the region is tried, and what the failures cost."""
    rows = results.of(figure)
    print(f"\n30 % of the rows fail, {pool.BUDGET} experiments, mean of the public sets")
    for peer in sorted({peer for peer, _ in rows}):
        for p in "ab":
            show_failing_of(rows, peer, p)


def show_failing_of(rows: Mapping[tuple[str, str], Mapping[int, Row]], peer: str, p: str) -> None:
    """One line."""
    cell: Callable[..., Any] = lambda kind, key, s: {i: r[key] for i, r in rows[peer, f"{s} {kind} {p}"].items()}  # noqa: E731
    if any((peer, f"{s} {kind} {p}") not in rows for s in pool.SETS for kind in failing.KINDS):
        return
    tried = over([mean(cell("fails", "tried", s)) for s in pool.SETS])
    top = {kind: over([mean(cell(kind, "top", s)) for s in pool.SETS]) for kind in failing.KINDS}
    lost = over([paired(cell("fails", "top", s), cell("free", "top", s))[0] for s in pool.SETS])
    ok = "" if peer == "random" else f"  tried {verdict(tried.value <= 0.15)}, share {verdict(lost.value >= -0.03)}"
    print(
        f"  {peer} {p}: after {failing.AFTER} tried {tried.text(3)} (reach .15); top 5 % {top['fails'].text(3)},"
        f" failure-free {top['free'].text(3)}, difference {lost.text(3)} (reach -.03);"
        f" region known from the start {top['known'].text(3)}{ok}"
    )


def verdict(reached: bool) -> str:
    """In a word."""
    return "reached" if reached else "SHORT"


# -- earlier campaigns --------------------------------------------------------------------


def show_transfer(results: Results, figure: str, ours: str) -> None:
    """Experiments to the top 1 % with each kind of earlier campaign."""
    known = values(results, figure, lambda row: float(row["reached"])).get(ours, {})
    print(f"\nexperiments until a top-1 % result (not in {transfer.BUDGET} = {transfer.BUDGET + 1}), {ours}")
    for p in "ab":
        for task, kinds in transfer.KINDS.items():
            alone = known.get(f"{task} none {p}")
            for kind in kinds if alone else ():
                if cell := known.get(f"{task} {kind} {p}"):
                    show_transfer_of(f"{task} {kind} {p}", cell, alone)


def show_transfer_of(name: str, cell: Mapping[int, float], alone: Mapping[int, float]) -> None:
    """One line; ratios are of medians and of means, because either may be at the budget's end."""
    with_it, without = (median(cell), mean(cell)), (median(alone), mean(alone))
    ratios = [a.value / b.value for a, b in zip(with_it, without, strict=True)]
    difference, n = paired(cell, alone)
    goal = {"related": 2 / 3, "few": 2 / 3, "misleading": 1.1}.get(name.split()[1])
    said = "" if goal is None else f"; reach x{goal:.2f}: {verdict(ratios[0] <= goal)}"
    print(
        f"  {name:22} median {with_it[0].text(1)}, mean {with_it[1].text(1)};"
        f" x{ratios[0]:.2f} (means x{ratios[1]:.2f}); paired {difference.text(1)}, n {n}{said}"
    )


SHOWN = {
    "pool-a": show_pool,
    "pool-b": show_pool,
    "simplex": show_simplex,
    "timing": show_timing,
    "size": show_size,
    "pareto": show_pareto,
    "failing": show_failing,
    "transfer": show_transfer,
}
