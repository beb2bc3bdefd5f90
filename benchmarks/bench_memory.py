"""(d) Memory of the worker after 1,000 experiments, and its growth up to 5,000.

Method: as in bench_loop (machines that take no time, 16 in flight, no wait for the disk), with
the default optimizer. Resident memory of this process is read from /proc every 0.2 s; printed are the
median and the highest of the last 500 experiments, as arrays of proposals come and go.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.bench_loop import make_lab
from instruments.sim.control import SimulatorControl
from labctl.session import run_campaign
from materials_db import glance

EVERY, SPARE = 500, 100  #: experiments between rows; beyond the last row, so that it is one like the others


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser()
    options.add_argument("-n", type=int, default=5000)
    options.add_argument("--optimizer", choices=("bayesian", "random"), default="bayesian")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lab"
        path = make_lab(folder, asked.n + SPARE, 16, "normal", asked.optimizer)
        session = run_campaign(folder, path)
        assert session.worker is not None
        print(f"{'experiments':>11} {'resident MB':>11} {'most MB':>8} {'experiments/s':>13}")
        shown, begin, looks = 0, time.perf_counter(), [resident_mb()]
        while shown < asked.n and session.worker.alive:
            looks.append(resident_mb())
            done = glance.progress(session.lab.glance_path, session.campaign_id)["ended"]
            if done >= shown + EVERY:
                rate = (done - shown) / (time.perf_counter() - begin)
                print(f"{done:>11} {statistics.median(looks):>11.1f} {max(looks):>8.1f} {rate:>13.1f}", flush=True)
                shown, begin, looks = done, time.perf_counter(), []
            session.wait(0.2)
        session.leave()
        SimulatorControl(folder / ".labctl" / "simulator").stop()


if __name__ == "__main__":
    main()
