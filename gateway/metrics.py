"""The node in numbers, in Prometheus' text format: door, journal, read models, actors by kind, and what became of messages."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from agents.coordinating.coordinator import Coordinator
from agents.coordinating.keys import all_keys
from agents.coordinating.overview import SCORED_MAX, overview
from aggregates.coordination import CoordinationFigures
from aggregates.webhook import Stage
from gateway.compartments import Berth
from gateway.door.bounds import Counts
from gateway.parts import Compartment, Node
from runtime.actors import Actors
from runtime.cell import Cell
from runtime.journal import Journal
from runtime.kind import Kind
from runtime.tree import by_name, summed

Labels = Mapping[str, str]
Samples = Sequence[tuple[Labels, float]]

BUCKETS = range(10, 38, 2)
"""Which of the buckets are told, from about a microsecond to two minutes, by the power of two that bounds each in nanoseconds."""

SAMPLED = "past the first 256 of a kind, one in 17 counts for all"
SUMS = "sums are reckoned from buckets that double: at most half too great, a quarter too small."
"""To add up each time exactly would cost every message what a bucket costs it."""

PLAIN: Labels = {}


def lines(node: Compartment, whole: Node | None = None, *, tenant: str = "") -> Iterator[str]:
    """All metrics of a compartment, and of the work of `tenant`; where it is the `whole` node, also those of its named journals, of its
    door, and of the work of all tenants."""
    yield from metric("gavel_ready", "gauge", "Whether the node is ready.", [(PLAIN, float(not node.faults()))])
    yield from of_journals(node, list(whole.isolated) if whole is not None else [])
    yield from metric(
        "gavel_disk_free_bytes", "gauge", "Free bytes of the data folder's disk.", [(PLAIN, node.room.left)]
    )
    yield from metric(
        "gavel_checkpoint_kept", "gauge", "Records under the newest checkpoint outside.", [(PLAIN, node.keeper.kept)]
    )
    standings: Samples = [({"projection": one.name}, one.position) for one in node.projector.status()]
    yield from metric("gavel_projection_position", "gauge", "How far a read model is.", standings)
    yield from metric("gavel_feed_readers", "gauge", "Readers of the feed.", [(PLAIN, node.fanout.readers)])
    yield from metric("gavel_agent_sockets", "gauge", "Agents' websockets.", [(PLAIN, len(node.sockets))])
    yield from of_webhooks(node)
    yield from of_work(node, None if whole is not None else tenant)
    yield from of_kinds(node.system)
    yield from metric(
        "gavel_actor_reactions",
        "gauge",
        "Records that wait for a reaction.",
        _summed_by_role([(cell.role, len(cell.reactions)) for cell in node.system.cells.values()]),
    )
    yield from of_messages(node.system)
    if whole is not None:
        yield from of_places(whole)
        yield from of_door(whole)


def of_journals(node: Compartment, named: Sequence[Berth]) -> Iterator[str]:
    """The caller's journal, without a label; beside the shared one each named journal, by its name."""
    found = [(PLAIN, node.system.journal)]
    found += [({"journal": one.facts.name}, one.compartment.system.journal) for one in named if one.compartment]
    for name, kind, meaning, value in OF_JOURNALS:
        yield from metric(
            f"gavel_journal_{name}", kind, meaning, [(labels, value(journal)) for labels, journal in found]
        )
    if named:
        is_open: Samples = [({"journal": one.facts.name}, float(one.compartment is not None)) for one in named]
        yield from metric("gavel_journal_open", "gauge", "Whether a named journal is open.", is_open)


OF_JOURNALS: tuple[tuple[str, str, str, Callable[[Journal], float]], ...] = (
    ("position", "counter", "Committed records.", lambda journal: journal.position),
    ("waiting", "gauge", "Proposals that wait for a commit.", lambda journal: journal.backlog),
    ("commits_total", "counter", "Commits.", lambda journal: journal.commits),
    ("failures_total", "counter", "Commits that failed.", lambda journal: journal.failures),
)


def of_door(node: Node) -> Iterator[str]:
    """What clients do at the door, and what of it goes too far."""
    counts = node.counts
    yield from metric("gavel_connections", "gauge", "Open connections.", [(PLAIN, counts.open)])
    for name, meaning, value in OF_CONNECTIONS:
        yield from metric(f"gavel_connections_{name}_total", "counter", meaning, [(PLAIN, value(counts))])
    answers: Samples = [
        ({"class": one, "status": str(status)}, count) for (one, status), count in sorted(counts.answers.items())
    ]
    yield from metric("gavel_requests_total", "counter", "Answers that were begun.", answers)
    yield from metric(
        "gavel_request_faults_total", "counter", "Handlers that failed.", [(PLAIN, counts.handler_faults)]
    )
    told = Counter(node.trail.refused)
    for berth in node.isolated:
        told.update(berth.compartment.trail.refused if berth.compartment is not None else {})
    meaning = "Requests and frames that were refused, by problem code."
    yield from metric(
        "gavel_refusals_total", "counter", meaning, [({"code": code}, told[code]) for code in sorted(told)]
    )
    refused: Samples = [({"rate": rate}, count) for rate, count in sorted(node.visitors.rates.refused.items())]
    yield from metric("gavel_rate_refusals_total", "counter", "Requests beyond a rate.", refused)
    waited = "Requests that waited for their tenant's turn."
    yield from metric("gavel_turns_waited_total", "counter", waited, [(PLAIN, node.visitors.turns.waited)])


OF_CONNECTIONS: tuple[tuple[str, str, Callable[[Counts], int]], ...] = (
    ("taken", "Connections that were let in.", lambda counts: counts.opened),
    ("refused", "Connections for which there was no room.", lambda counts: counts.refused),
    ("crowded", "Connections beyond what one address may have.", lambda counts: counts.crowded),
    ("evicted", "Idle connections that made room.", lambda counts: counts.evicted),
    ("stalled", "Connections whose clients did not read.", lambda counts: counts.stalled),
    ("unsecured", "TLS handshakes that failed.", lambda counts: counts.handshakes_failed),
    ("failed", "Connections that ended by a fault of ours.", lambda counts: counts.faults),
)


def of_webhooks(node: Compartment) -> Iterator[str]:
    """All webhooks of a compartment together."""
    webhooks = node.webhooks
    standing: Samples = [({"status": one.value}, webhooks.count(one)) for one in (Stage.ACTIVE, Stage.PAUSED)]
    yield from metric("gavel_webhooks", "gauge", "Webhooks.", standing)
    failing = sum(courier.failing_since > 0 for courier in webhooks)
    yield from metric("gavel_webhooks_failing", "gauge", "Webhooks whose deliveries fail now.", [(PLAIN, failing)])
    lag = "Records that the webhook that is furthest behind has yet to look at."
    yield from metric("gavel_webhook_lag", "gauge", lag, [(PLAIN, webhooks.lag)])
    ended: Samples = [({"outcome": "taken"}, webhooks.succeeded), ({"outcome": "failed"}, webhooks.failures)]
    yield from metric("gavel_webhook_attempts_total", "counter", "Attempts to deliver.", ended)


def of_work(node: Compartment, only: str | None = None) -> Iterator[str]:
    """What each tenant's coordinator has at hand, or that of one alone: how much work others have is theirs to know."""
    now = node.system.clock.now()
    known = [one for one in _coordinators(node) if only in (None, one.here.key)]
    for name, kind, meaning, number in OF_COORDINATORS:
        numbers: Samples = [({"tenant": one.here.key}, number(one)) for one in known]
        yield from metric(f"gavel_{name}", kind, meaning, numbers)
    found = [(one.here.key, overview(one.memory, now, one.terms.weights)) for one in known]
    for name, meaning, value in OF_WORK:
        samples: Samples = [
            ({"tenant": tenant, **labels}, one) for tenant, figures in found for labels, one in value(figures)
        ]
        yield from metric(f"gavel_{name}", "gauge", meaning, samples)


OF_COORDINATORS: tuple[tuple[str, str, str, Callable[[Coordinator], float]], ...] = (
    ("places_taken", "gauge", "Tasks of a tenant that are called for or held.", lambda one: len(one.memory.occupied)),
    (
        "places_own_max",
        "gauge",
        "How many of these a tenant may have at a time; 0 where nothing but the node's places bounds them.",
        lambda one: one.places.stands().own,
    ),
    ("queues_paused", "gauge", "Queues of a tenant that are held back.", lambda one: len(one.memory.paused)),
    (
        "concurrency_keys_full",
        "gauge",
        "Concurrency keys of a tenant without a place, for which tasks wait.",
        lambda one: sum(key.waiting > 0 and key.taken >= key.limit for key in all_keys(one.memory).keys),
    ),
    ("batches_refused_total", "counter", "Proposals of a batch that were refused.", lambda one: one.batches.refusals),
)


def of_places(node: Node) -> Iterator[str]:
    """The places for tasks, which all tenants of the node share."""
    homes = [node, *(berth.compartment for berth in node.isolated if berth.compartment is not None)]
    taken = sum(len(one.memory.occupied) for home in homes for one in _coordinators(home))
    meaning = "Tasks of all tenants that are called for or held."
    yield from metric("gavel_node_places_taken", "gauge", meaning, [(PLAIN, taken)])
    meaning = "How many of these there may be at a time; 0 where there is no bound."
    yield from metric("gavel_node_places_max", "gauge", meaning, [(PLAIN, node.settings.tasks_running_max)])


def _coordinators(node: Compartment) -> list[Coordinator]:
    found = [cell.actor for cell in node.system.cells.values() if isinstance(cell.actor, Coordinator)]
    return sorted(found, key=lambda one: one.here.key)


def _labelled(label: str, numbers: Mapping[str, float]) -> Samples:
    return [({label: name}, number) for name, number in numbers.items()]


def _scores(figures: CoordinationFigures) -> Samples:
    scores = figures.scores
    if scores is None:
        return []
    return _labelled("quantile", {"0": scores.least, "0.5": scores.median, "1": scores.most})


OF_WORK: tuple[tuple[str, str, Callable[[CoordinationFigures], Samples]], ...] = (
    ("agents", "Agents, by where they stand.", lambda told: _labelled("status", told.agents)),
    (
        "tasks_open",
        "Tasks that have not ended; those that wait are the queue.",
        lambda told: _labelled("state", told.tasks),
    ),
    ("tasks_ended", "Tasks that have ended, by their end.", lambda told: _labelled("stage", told.ended)),
    (
        "task_completion_rate",
        "The completed among the ended tasks.",
        lambda told: [] if told.completion_rate is None else [(PLAIN, told.completion_rate)],
    ),
    ("agent_scores", f"What active agents are worth before they bid: of {SCORED_MAX} at most.", _scores),
)


def of_kinds(actors: Actors) -> Iterator[str]:
    """What all actors of a kind do together."""
    found = by_name(actors)
    for name, kind, meaning, value in OF_KINDS:
        samples: Samples = [({"actor": one}, value(kinds, cells)) for one, (kinds, cells) in found.items()]
        yield from metric(f"gavel_actor_{name}", kind, meaning, samples)
    handled = {name: summed([kind.handled_ns for kind in kinds]) for name, (kinds, _) in found.items()}
    waited = {name: summed([kind.waited_ns for kind in kinds]) for name, (kinds, _) in found.items()}
    yield from histogram("gavel_actor_handler_seconds", f"How long handlers took: {SAMPLED}; {SUMS}", handled)
    yield from histogram("gavel_actor_waiting_seconds", f"How long messages waited: {SAMPLED}; {SUMS}", waited)


OF_KINDS: tuple[tuple[str, str, str, Callable[[list[Kind], list[Cell]], float]], ...] = (
    ("count", "gauge", "Actors.", lambda kinds, cells: len(cells)),
    ("mailbox", "gauge", "Messages that wait.", lambda kinds, cells: sum(len(cell._queue or ()) for cell in cells)),
    (
        "parked",
        "gauge",
        "Senders that wait for room in a mailbox.",
        lambda kinds, cells: sum(len(cell._extras.parked) for cell in cells if cell._extras is not None),
    ),
    (
        "handled_total",
        "counter",
        "Steps taken.",
        lambda kinds, cells: sum(kind.handled_by_gone for kind in kinds) + sum(cell._handled for cell in cells),
    ),
    (
        "crashes",
        "gauge",
        "Failures within the restart window.",
        lambda kinds, cells: sum(cell.crashes for cell in cells),
    ),
    ("restarts_total", "counter", "Restarts.", lambda kinds, cells: sum(kind.restarts for kind in kinds)),
)


def of_messages(actors: Actors) -> Iterator[str]:
    """What became of messages, and on how many tasks."""
    yield from metric("gavel_messages_total", "counter", "Messages sent.", [(PLAIN, actors.messages)])
    for name, meaning in COUNTS:
        yield from metric(f"gavel_actors_{name}_total", "counter", meaning, [(PLAIN, actors.counts[name])])
    letters: Samples = [({"reason": reason}, count) for reason, count in actors.dead_letters.count_by_reason.items()]
    yield from metric("gavel_dead_letters_total", "counter", "Messages to actors that were gone.", letters)
    tasks = actors.dispatcher.tasks
    yield from metric(
        "gavel_dispatcher_tasks", "gauge", "Tasks that run actors: one, and one for each that waits.", [(PLAIN, tasks)]
    )
    waiting = len(actors.dispatcher.waiting)
    yield from metric("gavel_dispatcher_waiting", "gauge", "Handlers that wait.", [(PLAIN, waiting)])


COUNTS = (
    ("overloaded", "Messages that found no room."),
    ("refused", "Refusals that nobody waited for."),
    ("crashed", "Failures of actors."),
)


def metric(name: str, kind: str, meaning: str, samples: Samples) -> Iterator[str]:
    """A metric with its samples."""
    yield f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{_labels(labels)} {value}\n"


def histogram(name: str, meaning: str, histogram_by_kind: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Histograms whose bucket i counts times of up to 2**i - 1 ns, as cumulative ones in seconds."""
    yield f"# HELP {name} {meaning}\n# TYPE {name} histogram\n"
    for kind, counts in histogram_by_kind.items():
        up_to = list(accumulate(counts))
        for place in BUCKETS:
            yield f"{name}_bucket{_labels({'actor': kind, 'le': repr((1 << place) / 1e9)})} {up_to[place]}\n"
        yield f"{name}_bucket{_labels({'actor': kind, 'le': '+Inf'})} {up_to[-1]}\n"
        yield f"{name}_sum{_labels({'actor': kind})} {_sum_of(counts)!r}\n"
        yield f"{name}_count{_labels({'actor': kind})} {up_to[-1]}\n"


def _sum_of(counts: Sequence[int]) -> float:
    """About as much as was measured, in seconds: each time counts as the middle of its bucket. It never falls."""
    return sum(count * 3 * (1 << place) for place, count in enumerate(counts) if place) / 4e9


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _summed_by_role(counts: Sequence[tuple[str, int]]) -> Samples:
    sums: dict[str, float] = {}
    for role, count in counts:
        sums[role] = sums.get(role, 0) + count
    return [({"actor": role}, value) for role, value in sums.items()]
