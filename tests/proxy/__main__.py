"""Faults on the wire: `python -m tests.proxy N [SEED]` faults N exchanges of each protocol and prints what came of them."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.proxy.exchanges import Tally, hammer
from tests.proxy.protocols import PROTOCOLS


def main() -> int:
    """Print one row per protocol; 1 if a wrong datum was taken for right."""
    parser = argparse.ArgumentParser(prog="python -m tests.proxy")
    parser.add_argument("n", type=int, nargs="?", default=10_000)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    options = parser.parse_args()
    tallies = {name: asyncio.run(hammer(name, options.n, options.seed)) for name in PROTOCOLS}
    for name, tally in tallies.items():
        show(name, tally)
    return 1 if any(tally.wrong for tally in tallies.values()) else 0


def show(name: str, tally: Tally) -> None:
    """The row, and every wrong datum."""
    faulted = sum(n for fault, n in tally.struck.items() if fault)
    refused = ", ".join(f"{n} {kind}" for kind, n in sorted(tally.refused.items()))
    print(
        f"{name}: {faulted} faulted exchanges; {tally.right} right, {refused}; {len(tally.wrong)} wrong data accepted"
    )
    print("  " + ", ".join(f"{fault} {n}" for fault, n in sorted(tally.struck.items()) if fault))
    for line in tally.wrong:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
