"""Spaces, histories and wishes at random: what is proposed can be made, is new, and is the same again.

`make soak-optimizer` runs many more of the same cases.
"""

from __future__ import annotations

import pytest

from tests.campaigns.optimizers.random_cases import violations

CASES, EACH = 60, 5


@pytest.mark.parametrize("first", range(0, CASES, EACH))
def test_every_promise_is_kept_in_random_campaigns(first: int, capfd: pytest.CaptureFixture[str]) -> None:
    broken = {seed: found for seed in range(first, first + EACH) if (found := violations(seed))}
    assert broken == {}
    assert capfd.readouterr() == ("", "")
