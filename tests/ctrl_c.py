"""Ctrl-C at random moments, once or twice: each time the campaign can be resumed, and in the end nothing is missing.

``python -m tests.ctrl_c 100 SEED`` prints how each of so many interrupted runs ended.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

from tests.acceptance.lab import LABCTL, LabFolder

LATEST_S = 8.0  #: wall seconds after the start at which Ctrl-C comes at the latest
PATIENCE_S = 120.0


def interrupted(lab: LabFolder, moments: random.Random) -> tuple[int, str]:
    """One run that is interrupted: exit status and what stood on stderr."""
    process = subprocess.Popen(
        [*LABCTL, "campaign", "run", lab.campaign], cwd=lab.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )  # fmt: skip
    pressed = moments.choice([1, 1, 2])
    for _ in range(pressed):
        threading.Event().wait(moments.uniform(0.02, LATEST_S / pressed))  # the moment is the input of this test
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    try:
        _, error = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler then says where every thread stands
        raise AssertionError(f"did not end after Ctrl-C: {process.communicate()[1]}") from None
    return process.returncode, error


def carried_on(folder: Path, number: int, seed: int, experiments: int) -> Counter[str]:
    """So many interrupted runs of one campaign, then one to its end. Raises AssertionError naming what is wrong."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs would inherit deafness
    lab, moments, endings = (
        LabFolder.make(folder, experiments=experiments, speed=3600),
        random.Random(seed),
        Counter[str](),
    )
    file = lab.folder / "labctl.toml"  # the template's bottles are enough for some 700 experiments
    file.write_text(re.sub('amount = ".*?"', 'amount = "1000 kg"', file.read_text()))
    for _ in range(number):
        status, error = interrupted(lab, moments)
        assert "Traceback" not in error, error
        assert status in (0, 130, -signal.SIGINT), (status, error)  # the last: before Python was there to hear it
        known = lab.json("campaign", "list")
        endings[known[0]["state"] if known else "not begun"] += 1
        if known and known[0]["state"] == "done":  # a quick machine: there is nothing left to interrupt
            break
        assert not known or known[0]["state"] in ("running", "paused"), known
    else:
        subprocess.run(
            [*LABCTL, "campaign", "run", lab.campaign], cwd=lab.folder, stdout=subprocess.DEVNULL, check=True
        )
    check(lab, experiments)
    lab.close()
    return endings


def check(lab: LabFolder, number: int) -> None:
    """Every experiment has ended, and no act happened twice."""
    experiments = lab.json("experiment", "list", "--campaign", "C-0001")
    assert [e["number"] for e in experiments] == list(range(1, number + 1))
    assert {e["state"] for e in experiments} <= {"done", "failed"}
    assert {job: n for job, n in lab.acts().items() if n != 1} == {}
    lab("audit", "verify")


def main() -> None:
    number, seed = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        endings = carried_on(Path(folder) / "lab", number, seed, experiments=8 * number)
    runs = sum(endings.values())
    print(f"{runs} interrupted runs (seed {seed}): {dict(endings)}; then to its end: nothing missing, nothing twice")


if __name__ == "__main__":
    main()
