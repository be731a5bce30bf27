"""A projection of the benches' accounts: what each holds, and how often it was paid into."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

from benchmarks.account import Deposited
from runtime.records import Add, Change, Insert, Recorded

NAME = "balances-1"

balances = Table(
    "balances",
    MetaData(),
    Column("account", Text, primary_key=True),
    Column("cents", BigInteger, nullable=False),
    Column("deposits", Integer, nullable=False),
)

TABLES = (balances,)


def apply(recorded: Recorded) -> Sequence[Change]:
    """The row changes of an event."""
    event = recorded.event
    if not isinstance(event, Deposited):
        return ()
    if recorded.version == 1:
        return (Insert(table=balances, values={"account": event.account, "cents": event.cents, "deposits": 1}),)
    return (Add(table=balances, values={"cents": event.cents, "deposits": 1}, where={"account": event.account}),)
