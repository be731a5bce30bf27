"""Where a journal can stand, one way to open it and one to meddle with it, for tests that run on every database."""

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

import aggregates.journal_key  # noqa: F401 — listed below by its name
from runtime.codec import Codec
from runtime.records import Meta
from runtime.store.contract import Batch, Draft
from runtime.store.postgres import PostgresStore, schema_of
from runtime.store.sqlite import SqliteStore
from runtime.store.store import Store
from runtime.transparency import Signer
from tests.runtime import bank

CODEC = Codec([sys.modules["tests.runtime.bank"], sys.modules["aggregates.journal_key"]])
META = Meta(id="c1", cause="", correlation="c1", tenant="t1", principal="ann", at=1.0)


class Place(Protocol):
    """A journal's place, and its key."""

    signer: Signer

    def open(self, signer: Signer | None = None, *, successor: Signer | None = None) -> Store: ...

    def meddle(self, statement: str, *parameters: object) -> list[Any]:
        """Runs a statement behind the store's back."""


class SqlitePlace:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.signer = Signer.make()

    def open(self, signer: Signer | None = None, *, successor: Signer | None = None) -> Store:
        return SqliteStore(self.path, CODEC, signer or self.signer, successor=successor)

    def meddle(self, statement: str, *parameters: object) -> list[Any]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(statement.replace("notification_id", "rowid"), parameters).fetchall()


class PostgresPlace:
    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = name
        self.signer = Signer.make()

    def open(
        self,
        signer: Signer | None = None,
        *,
        successor: Signer | None = None,
        doubt_seconds_max: float = 60.0,
        address: str = "",
    ) -> PostgresStore:
        return PostgresStore(
            address or self.address,
            CODEC,
            signer or self.signer,
            successor=successor,
            name=self.name,
            doubt_seconds_max=doubt_seconds_max,
        )

    def meddle(self, statement: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(f"SET search_path = {schema_of(self.name)}")
            cursor = connection.cursor(row_factory=tuple_row).execute(statement.replace("?", "%s"), parameters or None)
            return cursor.fetchall() if cursor.description else []


def batch(first: int, count: int = 1, *, stream: str = "bank-a", version: int | None = None, **more: Any) -> Batch:
    """Deposits of one cent each, at positions from `first` on."""
    data = CODEC.pack(bank.Deposited(account="a", cents=1))
    versions = range(version or first, (version or first) + count)
    drafts = [Draft(first + n, stream, v, "bank.Deposited", META, data) for n, v in enumerate(versions)]
    return Batch(drafts, more.get("replies", []), more.get("reactions", []), 2.0)


def positions(store: Store) -> Sequence[int]:
    return [record.position for record in store.read(0, 10_000)]


def make_database(address: str, name: str) -> str:
    """A fresh database on the server at `address`; its address."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return address.replace("/postgres?", f"/{name}?")
