"""Thousands of exchanges through the proxy, and what came of each."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from instruments.errors import TransportError
from tests.proxy.protocols import PROTOCOLS, Line, Protocol, device
from tests.proxy.proxy import FAULTS, Proxy

TIMEOUT_S = 0.1  #: of the driver, wall seconds
HANGS_S = 100 * TIMEOUT_S  #: an exchange that lasts so long never ends: it waits at most three times for the device
LINES = 8  #: wires at the same time


@dataclass
class Tally:
    """What became of the exchanges."""

    right: int = 0
    refused: Counter[str] = field(default_factory=Counter)  #: by our typed error
    wrong: list[str] = field(default_factory=list)  #: data that were no answer to the question: must stay empty
    struck: Counter[str] = field(default_factory=Counter)


async def hammer(protocol: str, n: int, seed: int, share: float = 0.5) -> Tally:
    """At least `n` faulted exchanges, over several wires at once."""
    tally, spoken = Tally(), PROTOCOLS[protocol]
    async with device(spoken.serve) as port:
        await asyncio.gather(*(one_line(spoken, port, n / LINES, seed + i, share, tally) for i in range(LINES)))
    return tally


async def one_line(protocol: Protocol, port: int, n: float, seed: int, share: float, tally: Tally) -> None:
    """One wire with a proxy of its own; at the end, without faults, it must be sound again."""
    proxy = Proxy(port, protocol.framing, TIMEOUT_S, seed=seed, rates={f: share / len(FAULTS) for f in FAULTS})
    rng, serial = random.Random(seed), seed * 1_000_000
    async with proxy.serving():
        line = protocol.line(proxy.address, TIMEOUT_S)
        while sum(proxy.struck[f] for f in FAULTS) < n:
            serial += 1
            await ask(line, serial, rng, tally)
        proxy.rates = {}
        await recovered(line, serial, rng, tally)
        await line.close()
    tally.struck += proxy.struck


async def ask(line: Line, serial: int, rng: random.Random, tally: Tally) -> bool:
    """One exchange: the right datum, or one of our errors. Anything else is raised. Whether it was right."""
    try:
        async with asyncio.timeout(HANGS_S):
            got, wanted = await line.exchange(serial, rng)
    except TransportError as error:
        tally.refused[type(error).__name__] += 1
        return False
    if got == wanted:
        tally.right += 1
    else:
        tally.wrong.append(f"asked {serial}: got {str(got)[:60]!r} for {str(wanted)[:60]!r}")
    return got == wanted


async def recovered(line: Line, serial: int, rng: random.Random, tally: Tally) -> None:
    """Right again after a few tries, and then always: nothing old is left on the wire."""
    for attempt in range(1, 50):
        if await ask(line, serial + attempt, rng, tally):
            return
    tally.wrong.append(f"after {serial} the line never came to itself")
