"""The short form of `make proxy-test`: whatever a wire does, a datum is the right one or there is none."""

from __future__ import annotations

import random

import pytest

from tests.proxy.exchanges import TIMEOUT_S, Tally, ask, hammer, recovered
from tests.proxy.protocols import PROTOCOLS, device
from tests.proxy.proxy import FAULTS, Proxy

HARMLESS = {"delay"}


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
async def test_a_thousand_faulted_exchanges_give_the_right_datum_or_an_error(protocol: str) -> None:
    tally = await hammer(protocol, 1000, seed=1)
    assert tally.wrong == []
    assert set(FAULTS) <= set(tally.struck)
    assert tally.right > 100


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
async def test_after_each_fault_the_next_answers_are_the_right_ones(protocol: str, fault: str) -> None:
    spoken, tally, rng = PROTOCOLS[protocol], Tally(), random.Random(1)
    async with device(spoken.serve) as port:
        proxy = Proxy(port, spoken.framing, TIMEOUT_S)
        async with proxy.serving():
            line = spoken.line(proxy.address, TIMEOUT_S)
            await recovered(line, 0, rng, tally)
            proxy.orders.append(fault)
            await ask(line, 100, rng, tally)
            for serial in range(200, 600, 100):
                await recovered(line, serial, rng, tally)
            await line.close()
    assert proxy.struck[fault] == 1
    assert tally.wrong == []
