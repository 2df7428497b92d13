"""One append-only ledger: what was promoted and what was scored, when and why.

Rows are only ever added. SQLite in the project folder by default, any SQLAlchemy address by
``GATECAST_LEDGER_URI``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gatecast.errors import RegistryError

_METADATA = sa.MetaData()
_ENTRIES = sa.Table(
    "ledger",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False, index=True),
    sa.Column("subject", sa.String(255), nullable=False, index=True),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("once", sa.String(255), nullable=True, unique=True),
)


@dataclass(frozen=True)
class Entry:
    """A row: ``kind`` (promotion, scoring), ``subject`` (registered model or source), ``facts``; ``at`` in UTC."""

    id: int
    at: str
    kind: str
    subject: str
    facts: dict[str, Any]


def _create(engine: sa.Engine) -> None:
    """Make the table unless it is there; of several processes that come at once, one makes it."""
    try:
        _METADATA.create_all(engine)
    except sa.exc.OperationalError:
        if not sa.inspect(engine).has_table(_ENTRIES.name):
            raise


def shown(uri: str) -> str:
    """An address for people: without its password, and without the path of the current folder."""
    uri = uri.replace(f"{Path.cwd()}/", "")
    try:
        return sa.make_url(uri).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:  # an http server
        return re.sub(r"//[^/@]*@", "//***@", uri)


class Ledger:
    """The ledger at an address (created if it is not there).

    Raises:
        RegistryError: LEDGER if it cannot be opened.
    """

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or os.environ.get("GATECAST_LEDGER_URI") or "sqlite:///ledger.db"
        patience = {"timeout": 60} if self.uri.startswith("sqlite") else {}
        with self._trouble():
            self._engine = sa.create_engine(self.uri, connect_args=patience)
            _create(self._engine)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise RegistryError(
                "LEDGER",
                f"the ledger does not answer: {str(error).splitlines()[0]}",
                "Correct GATECAST_LEDGER_URI, start its database, or install its driver.",
            ) from None

    def append(
        self, kind: str, subject: str, facts: dict[str, Any], once: str | None = None
    ) -> Entry | None:
        """Add a row.

        Args:
            kind, subject, facts: see :class:`Entry`.
            once: a key that only one row may have, whoever writes it.

        Returns:
            The row, or None if there is one with this key already.

        Raises:
            RegistryError: LEDGER if it cannot be written.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = {
            "at": at,
            "kind": kind,
            "subject": subject,
            "facts": json.dumps(facts, sort_keys=True),
            "once": once,
        }
        with self._trouble():
            try:
                with self._engine.begin() as connection:
                    key = connection.execute(_ENTRIES.insert().values(row)).inserted_primary_key
            except sa.exc.IntegrityError:
                return None
        assert key is not None
        return Entry(int(key[0]), at, kind, subject, facts)

    def entries(self, kind: str, subject: str | None = None) -> list[Entry]:
        """Rows of a kind, oldest first."""
        query = _ENTRIES.select().where(_ENTRIES.c.kind == kind).order_by(_ENTRIES.c.id)
        if subject is not None:
            query = query.where(_ENTRIES.c.subject == subject)
        with self._trouble(), self._engine.connect() as connection:
            return [
                Entry(r.id, r.at, r.kind, r.subject, json.loads(r.facts))
                for r in connection.execute(query)
            ]
