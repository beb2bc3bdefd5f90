"""(c) How long quick commands take, and what they import.

Method: each command is run in a fresh process, 15 times after one warm-up; the median and
the fastest are wall time of the whole process. Bare Python is timed beside it, because the
machine's own pace moves.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LABCTL = [sys.executable, "-m", "labctl"]
RUNS = 15


def timed(command: list[str], folder: Path) -> list[float]:
    """Wall milliseconds of each run."""
    found = []
    for i in range(RUNS + 1):
        begin = time.perf_counter()
        subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if i:
            found.append(1000 * (time.perf_counter() - begin))
    return found


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lab"
        subprocess.run([*LABCTL, "init", str(folder)], check=True, capture_output=True)
        text = (folder / "campaigns" / "conductivity.toml").read_text().replace("experiments = 30", "experiments = 3")
        (folder / "campaigns" / "conductivity.toml").write_text(text)
        (folder / "labctl.toml").write_text(
            (folder / "labctl.toml").read_text().replace("speed = 3600", "speed = 100000")
        )
        subprocess.run(
            [*LABCTL, "campaign", "run", "campaigns/conductivity.toml"], cwd=folder, check=True, capture_output=True
        )
        print(f"{'command':<28} {'median ms':>9} {'fastest ms':>10}")
        for title, command in (
            ("python -c pass", [sys.executable, "-c", "pass"]),
            ("labctl --help", [*LABCTL, "--help"]),
            ("labctl campaign --help", [*LABCTL, "campaign", "--help"]),
            ("labctl campaign list", [*LABCTL, "campaign", "list"]),
            ("labctl queue list", [*LABCTL, "queue", "list"]),
        ):
            found = timed(command, folder)
            print(f"{title:<28} {statistics.median(found):>9.0f} {min(found):>10.0f}")


if __name__ == "__main__":
    main()
