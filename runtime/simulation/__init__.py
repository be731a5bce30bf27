"""Seeded simulation: real actors and a real journal on a virtual clock, in an order and with faults that a seed gives.

async def workload(world: World) -> None:
    async with world.actors() as actors:
        ...
        world.holds("nothing_lost", account.cents == 100, "…")

outcome = simulate(workload, seed=7)
"""

from runtime.simulation.faults import KINDS, Fault, Faults, Kind, draw
from runtime.simulation.invariants import check
from runtime.simulation.ledger import Ledger
from runtime.simulation.line import Gone, NoAnswer
from runtime.simulation.machine import Machine
from runtime.simulation.run import Outcome, Workload, shrink, simulate
from runtime.simulation.world import Planted, Violation, World

__all__ = [
    "KINDS",
    "Fault",
    "Faults",
    "Gone",
    "Kind",
    "Ledger",
    "Machine",
    "NoAnswer",
    "Outcome",
    "Planted",
    "Violation",
    "Workload",
    "World",
    "check",
    "draw",
    "shrink",
    "simulate",
]
