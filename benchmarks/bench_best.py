"""How near to the true best the demo's campaign comes in 30 experiments, beside random search.

Method: the demo's campaign file in the simulated lab under a virtual clock (production
drivers, hosts, loop; no faults of machines), ten seeds of campaign and lab. Score: true
conductivity of the best-measured sample's weighed composition over the best on the grid.
"""

from __future__ import annotations

from instruments.sim import physics
from labctl import optimizers
from materials_db import records as db
from tests.virtual_lab import VirtualLab, campaign, live

SEEDS = range(1, 11)
BOUNDS = {"LiPF6": (0.05, 0.20), "EC": (0.10, 0.50), "DMC": (0.0, 0.70), "EMC": (0.0, 0.70)}


async def share(seed: int, optimizer: str) -> float:
    """Share of the attainable that one campaign found."""
    lab = VirtualLab(seed=seed, optimizer=optimizers.optimizer)
    id = await lab.carry_out(campaign(campaign={"seed": seed}, optimizer={"name": optimizer}))
    with lab.store.transaction() as tx:
        experiments = {e.plan["sample_id"] for e in tx.find(db.Experiment, campaign_id=id)}
        found = [m for m in tx.find(db.Measurement, quantity="ionic_conductivity") if m.sample_id in experiments]
        best = max(found, key=lambda m: m.value)
        (made,) = lab.sim.world.memory.of_sample(best.sample_id, "doser-1")
    return physics.conductivity(made.program["dosed"], 25.0) / BEST


BEST, WHERE = physics.best(BOUNDS, "EMC", 0.01, 25.0)


def main() -> None:
    """Print the table."""
    print(f"true best {BEST:.2f} mS/cm at {', '.join(f'{n} {f:.2f}' for n, f in WHERE.items())}")
    print(f"{'seed':>4} {'labctl':>8} {'random':>8}")
    table = []
    for seed in SEEDS:
        row = [live(share(seed, name)) for name in ("bayesian", "random")]
        table.append(row)
        print(f"{seed:>4} {row[0]:>8.3f} {row[1]:>8.3f}")
    within = [sum(row[i] >= 0.95 for row in table) for i in (0, 1)]
    print(f"within 5 % of the true best: labctl {within[0]} of {len(table)}, random search {within[1]} of {len(table)}")


if __name__ == "__main__":
    main()
