"""Scale: a restart with a full database, a thousand waiting jobs, a fleet, and the cost of the ten-thousandth experiment.

Machines take no time (`bench_loop`), SQLite does not wait for the disk ("normal"), PostgreSQL is a private cluster
on this machine as initdb makes it. CPU is user's and system's time of the worker processes from /proc, the server's apart;
it says more than wall time where the machine has other work.

restart: a campaign of 1,100 experiments really runs and is copied 30 times (`filling`): 102,300 finished jobs. Another, with
the default optimizer and 3 in flight, is killed (SIGKILL) after 100 experiments. Wall time from the start of
`labctl worker run` to `started_at` of the first job that begins after it; five kills.
waiting: campaigns that plan 1,000 experiments at once while `labctl instrument hold` keeps the doser; what share of
a core the worker uses over 60 s, from half a minute after the last began to wait: what their start has set going
(workflows that begin, a checkpoint of the file) is over by then.
fleet: 4 dosers, 4 thermostats, 4 analysers; 4 campaigns at once, random search, 8 in flight each. One worker drives all, or
2 or 4 workers a part each. From the start of the first job to the end of the last.
flat: one campaign, random search, 16 in flight; CPU of the worker, and of the server, per experiment around so many experiments.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime

from benchmarks import filling
from benchmarks.scale_lab import (
    Process,
    Server,
    all_ended,
    ask,
    begin,
    cpu_s,
    end,
    host_of,
    lab_of,
    launch,
    number,
    server_cpu_s,
    until,
)
from labctl import wiring
from materials_db.chain import stamp
from tests import postgres
from tests.acceptance.lab import LabFolder, kill

FIRST, COPIES = 1100, 30
HISTORY, KILLS = 100, 5
WAITING, SETTLE_S, WAIT_S = 1000, 30.0, 60.0
SETS, CAMPAIGNS, IN_FLIGHT = 4, 4, 8
Look = tuple[int, float, float, float]  #: experiments done, CPU s of worker and server, wall s
WINDOWS = (100, 1000, 3000, 10000)


def name_of(server: Server) -> str:
    """As it stands in the tables."""
    return "PostgreSQL" if server else "SQLite"


# -- restart ---------------------------------------------------------------------------------


def restart(server: Server) -> None:
    """One row: seconds from the start of a worker to the first job that it begins."""
    with lab_of(FIRST, 16, server) as lab:
        worker = begin(lab)
        launch(lab, 1)
        until(worker, lambda: all_ended(lab), 1.0)
        end(worker)
        filling.fill(wiring.open_lab(lab.folder).url, lab.folder / ".labctl" / "journal", COPIES)
        finished = number(lab, "job", "state = 'done'")
        lab.edit(lab.campaign, {"name": '"bayesian"', "in_flight": "3"})
        worker = begin(lab)
        id = launch(lab, 1)[0]
        until(worker, lambda: number(lab, "experiment", "campaign_id = ? AND state = 'done'", id) >= HISTORY)
        kill(worker)
        found = sorted(seconds_to_work(lab) for _ in range(KILLS))
    print(
        f"{name_of(server):>11} {finished:>14,} {statistics.median(found):>10.1f} {found[0]:>5.1f} {found[-1]:>5.1f}",
        flush=True,
    )


def seconds_to_work(lab: LabFolder) -> float:
    """Start a worker, see it begin a job, kill it."""
    before, _ = lab.simulator.clock()  # jobs are stamped with lab time
    worker = lab.start("worker", "run")
    query = "SELECT min(started_at) AS first FROM job WHERE started_at > ?"
    until(worker, lambda: bool(ask(lab, query, stamp(before))[0]["first"]), 0.5)
    first = datetime.fromisoformat(ask(lab, query, stamp(before))[0]["first"])
    time.sleep(2.0)
    kill(worker)
    return (first - before).total_seconds()


# -- waiting ---------------------------------------------------------------------------------


def waiting(server: Server, campaigns: int) -> None:
    """One row: what the worker uses while all wait for an instrument on hold."""
    with lab_of(10 * WAITING, WAITING // campaigns, server) as lab:
        worker = begin(lab)
        lab("instrument", "hold", "doser-1", "--reason", "benchmark")
        launch(lab, campaigns)
        until(worker, lambda: number(lab, "job", "state = 'queued'") >= WAITING, 1.0)
        time.sleep(SETTLE_S)
        cpu, servers, begun = cpu_s(worker.pid), server_cpu_s(server), time.perf_counter()
        time.sleep(WAIT_S)
        passed = time.perf_counter() - begun
        share, of_server = (cpu_s(worker.pid) - cpu) / passed, (server_cpu_s(server) - servers) / passed
        end(worker)
    print(f"{name_of(server):>11} {WAITING:>12,} {campaigns:>9} {share:>9.1%} {of_server:>9.1%}", flush=True)


# -- fleet -----------------------------------------------------------------------------------


def fleet(server: Server, workers: int, experiments: int) -> None:
    """One row: experiments per second, and the CPU that each has cost."""
    with lab_of(experiments, IN_FLIGHT, server, sets=SETS, hosts=workers) as lab:
        processes = [begin(lab, host_of(n, workers)) for n in range(1, workers + 1)]
        cpu, servers = total_cpu_s(processes), server_cpu_s(server)
        launch(lab, CAMPAIGNS)
        until(processes[0], lambda: all_ended(lab), 1.0)
        used, of_server = total_cpu_s(processes) - cpu, server_cpu_s(server) - servers
        row = ask(lab, "SELECT min(started_at) AS first, max(ended_at) AS last FROM job")[0]
        done = number(lab, "experiment", "state = 'done'")
        for process in processes:
            end(process)
    seconds = (datetime.fromisoformat(row["last"]) - datetime.fromisoformat(row["first"])).total_seconds()
    print(
        f"{name_of(server):>11} {workers:>7} {done:>11} {done / seconds:>13.1f} {1000 * used / done:>17.0f}"
        f" {1000 * of_server / done:>16.0f}",
        flush=True,
    )


def total_cpu_s(processes: Sequence[Process]) -> float:
    """CPU seconds of all workers."""
    return sum(cpu_s(process.pid) for process in processes)


# -- flat ------------------------------------------------------------------------------------


def flat(server: Server, experiments: int) -> None:
    """A row for each window."""
    with lab_of(int(1.05 * experiments) + 50, 16, server) as lab:
        worker = begin(lab)
        launch(lab, 1)
        seen = [(0, cpu_s(worker.pid), server_cpu_s(server), time.perf_counter())]
        for window in (w for w in WINDOWS if w <= experiments):
            reach = max(50, window // 20)
            while seen[-1][0] < window + reach and not all_ended(lab):
                time.sleep(1.0)
                done = number(lab, "experiment", "state = 'done'")
                seen.append((done, cpu_s(worker.pid), server_cpu_s(server), time.perf_counter()))
            (n, *before), (m, *after) = (at_least(seen, window + side) for side in (-reach, reach))
            cpu, of_server, passed = (b - a for a, b in zip(before, after, strict=True))
            print(
                f"{name_of(server):>11} {f'{n} to {m}':>16} {1000 * cpu / (m - n):>14.1f} {1000 * of_server / (m - n):>16.1f}"
                f" {(m - n) / passed:>13.1f}",
                flush=True,
            )
        end(worker)


def at_least(seen: Sequence[Look], done: int) -> Look:
    """The first look at which so many were done, or the last."""
    return next((row for row in seen if row[0] >= done), seen[-1])


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser()
    options.add_argument("parts", nargs="*", default=["restart", "waiting", "fleet", "flat"])
    options.add_argument("-n", type=int, default=3000, help="experiments of the flat campaign")
    options.add_argument("--each", type=int, default=50, help="experiments of each of the fleet's campaigns")
    options.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    asked = options.parse_args()
    with ExitStack() as stack:
        servers: list[Server] = [] if asked.database == "postgresql" else [None]
        if asked.database != "sqlite" and postgres.missing():
            print(f"{postgres.missing()}; SQLite alone is measured")
        elif asked.database != "sqlite":
            servers.append(stack.enter_context(postgres.cluster()))
        if "restart" in asked.parts:
            print(f"{'restart':>11} {'finished jobs':>14} {'s, median':>10} {'least':>5} {'most':>5}", flush=True)
            for server in servers:
                restart(server)
        if "waiting" in asked.parts:
            print(f"{'waiting':>11} {'jobs':>12} {'campaigns':>9} {'of a core':>9} {'server':>9}", flush=True)
            for server in servers:
                for campaigns in (5, 50):
                    waiting(server, campaigns)
        if "fleet" in asked.parts:
            print(
                f"{'fleet':>11} {'workers':>7} {'experiments':>11} {'experiments/s':>13} {'workers, CPU ms/e':>17}"
                f" {'server, CPU ms/e':>16}",
                flush=True,
            )
            for server in servers:
                for workers in (1, 2, 4) if server else (1,):
                    fleet(server, workers, asked.each)
        if "flat" in asked.parts:
            print(
                f"{'flat':>11} {'experiments':>16} {'worker, ms/e':>14} {'server, ms/e':>16} {'experiments/s':>13}",
                flush=True,
            )
            for server in servers:
                flat(server, asked.n)


if __name__ == "__main__":
    main()
