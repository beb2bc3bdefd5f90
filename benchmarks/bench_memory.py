"""(d) Memory of the worker after 1,000 experiments, and its growth up to 5,000.

Method: as in bench_loop (machines that take no time, 16 in flight, no wait for the disk), with
the default optimizer; resident memory of this process is read from /proc after every 500.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.bench_loop import make_lab
from instruments.sim.control import SimulatorControl
from labctl import worker
from materials_db import glance


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
        path = make_lab(folder, asked.n, 16, "normal", asked.optimizer)
        session = worker.run_campaign(folder, path)
        assert session.worker is not None
        print(f"{'experiments':>11} {'resident MB':>11} {'experiments/s':>13}")
        shown, begin = 0, time.perf_counter()
        while shown < asked.n and session.worker.alive:
            done = glance.progress(session.lab.glance_path, session.campaign_id)["ended"]
            if done >= shown + 500:
                now = time.perf_counter()
                print(f"{done:>11} {resident_mb():>11.0f} {(done - shown) / (now - begin):>13.1f}", flush=True)
                shown, begin = done, now
            session.wait(0.2)
        SimulatorControl(folder / ".labctl" / "simulator").stop()


if __name__ == "__main__":
    main()
