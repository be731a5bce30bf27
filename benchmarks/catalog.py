"""Every bench there is."""

from benchmarks import (
    assigning,
    auditing,
    big,
    cycles,
    encryption,
    entering,
    exports,
    folding,
    gateway,
    journal,
    loads,
    projections,
    proof,
    qubo,
    replay,
    rounds,
    runtime,
)
from benchmarks.measure import Row

BENCHES: dict[str, tuple[Row, ...]] = {
    "runtime": runtime.ROWS,
    "journal": (*journal.ROWS, *folding.ROWS, *proof.ROWS, *big.ROWS, *projections.ROWS),
    "audit": (*auditing.ROWS, *replay.ROWS, *encryption.ROWS, *exports.ROWS),
    "gateway": gateway.ROWS,
    "qubo": qubo.ROWS,
    "coordination": (*assigning.ROWS, *rounds.ROWS, *cycles.ROWS, *entering.ROWS, *loads.ROWS),
}
