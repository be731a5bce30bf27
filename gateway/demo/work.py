"""What the demo's agents do for a task: solve a problem, check somebody else's answer, or replay a stretch of the log.

A task comes as the award that won it, as JSON; its result goes back as a JSON object. Whatever is needed beside it is fetched from the
node with the agent's own key.
"""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from aggregates.catalog import AGGREGATES
from aggregates.task import BidPlaced, TaskAwarded
from gateway.client import Client
from runtime.records import noun
from solvers.verify import decode_assignment, encode_assignment, recompute, same_value

SOLVE_SECONDS_MAX = 600.0
PAGE = 500


class Undoable(Exception):
    """The task can't be done; the text says why."""


def do(task: dict[str, Any], client: Client, *, seed: int = 0, share: float = 1.0) -> dict[str, Any]:
    """The result of a task, by its type. `seed` and `share` (of the seconds that the task grants) are the solver's own settings."""
    try:
        payload = task["payload"]
        match task["task_type"]:
            case "optimization":
                return _optimize(payload, client, seed, share)
            case "verification":
                return _verify(payload, task["inputs"], client)
            case "analysis":
                return analyze(_records(client, payload["to"]), payload["from"])
            case other:
                raise Undoable(f"nobody here does tasks of the type {other}")
    except (KeyError, TypeError, ValueError) as error:
        raise Undoable(f"the task makes no sense: {error!r}") from error


def _fetch(payload: dict[str, Any], client: Client) -> bytes:
    """The problem's file."""
    content = client.send("GET", f"/v1/blobs/{payload['blob']}")
    if sha256(content).hexdigest() != payload["blob"]:
        raise Undoable(f"the bytes that came are not {payload['blob']}")
    return content


def _optimize(payload: dict[str, Any], client: Client, seed: int, share: float) -> dict[str, Any]:
    from solvers.formats import parse
    from solvers.portfolio import solve  # its kernels take a second to load, which checking does not need

    content = _fetch(payload, client)
    qubo = parse(content, payload["problem"], format=payload["format"])
    solution = solve(qubo, seconds=min(SOLVE_SECONDS_MAX, share * payload["seconds"]), seed=seed)
    return {
        "value": solution.value,
        "assignment": encode_assignment(solution.assignment),
        "variables": qubo.variables,
        "work": solution.work,
        "algorithm": solution.algorithm,
        "seed": solution.seed,
        "seconds": round(solution.seconds, 3),
    }


def _verify(payload: dict[str, Any], inputs: dict[str, Any], client: Client) -> dict[str, Any]:
    """Recomputes the value from the file's own lines, with nothing of what solved it."""
    answer = inputs[payload["of"]]
    content = _fetch(payload, client)
    assignment = decode_assignment(answer["assignment"], answer["variables"])
    value = recompute(content, assignment, name=payload["problem"], format=payload["format"])
    return {"value": value, "claimed": answer["value"], "equal": same_value(value, answer["value"])}


def _records(client: Client, last: int) -> Iterator[dict[str, Any]]:
    """The records up to a position, as this agent may see them."""
    after = 0
    while after < last:
        page = client.get(f"/v1/log?after={after}&limit={PAGE}&commands=true")
        yield from (record for record in page["records"] if record["position"] <= last)
        if page["next"] <= after:
            return
        after = page["next"]


class Streams:
    """The states of all streams as their records come, and each decision made again from its recorded command."""

    def __init__(self) -> None:
        self._aggregates = {noun(aggregate): aggregate for aggregate in AGGREGATES}
        self._events = {f"{noun(one)}.{event.__name__}": event for one in AGGREGATES for event in one.EVENTS}
        self._commands = {f"{noun(one)}.{command.__name__}": command for one in AGGREGATES for command in one.COMMANDS}
        self._states: dict[str, Any] = {}
        self._expected: dict[str, list[Any]] = {}
        self.commands = 0
        self.equal = 0
        self.different: list[int] = []

    def take(self, record: dict[str, Any], counted: bool) -> Any:
        """Folds a record and returns its event; where it begins a decision, the decision is made again."""
        stream, event = record["stream"], msgspec.convert(record["data"], self._events[record["kind"]])
        aggregate = self._aggregates[stream.partition("-")[0]]
        state = self._states.get(stream, aggregate.initial)
        if record["command"] is not None:
            decided = record["decided"]
            command = msgspec.convert(decided["data"], self._commands[record["command"]])
            if decided["rules"] == aggregate.RULES:
                self._expected[stream] = list(aggregate.decide(state, command))
                self.commands += counted
                self.equal += counted
        expected = self._expected.get(stream)
        if expected is not None and (not expected or expected.pop(0) != event):
            self._expected.pop(stream)
            if counted:
                self.equal -= 1
                self.different.append(record["position"])
        self._states[stream] = aggregate.evolve(state, event)
        return event


def analyze(records: Iterator[dict[str, Any]], first: int) -> dict[str, Any]:
    """Replays records from the first on, and reports on those from position `first`: what happened, and whether each decision holds."""
    streams, kinds, wins, bids = Streams(), Counter[str](), Counter[str](), Counter[str]()
    seen: set[str] = set()
    last = first - 1
    for record in records:
        counted = record["position"] >= first
        event = streams.take(record, counted)
        if not counted:
            continue
        last = record["position"]
        seen.add(record["stream"])
        kinds[record["kind"]] += 1
        if isinstance(event, TaskAwarded):
            wins[event.agent_id] += 1
        elif isinstance(event, BidPlaced):
            bids[event.agent_id] += 1
    return {
        "from": first,
        "to": last,
        "records": kinds.total(),
        "streams": len(seen),
        "kinds": dict(sorted(kinds.items())),
        "wins": dict(sorted(wins.items())),
        "bids": dict(sorted(bids.items())),
        "commands": streams.commands,
        "equal": streams.equal,
        "different": streams.different,
    }
