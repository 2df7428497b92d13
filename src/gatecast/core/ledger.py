"""One append-only ledger of what was promoted and scored, when and why; and leases, for work that one process does.

Rows are only ever added. The ledger is SQLite in the project folder by default, or any SQLAlchemy address that
``GATECAST_LEDGER_URI`` names.

    ledger = Ledger()
    ledger.append("promotion", "gatecast-demo", {"verdict": "promote"}, key="gatecast-demo/7")
    with ledger.lease("promotion gatecast-demo") as lease:
        ...                # no other process is in here, as long as this one lives
        lease.check()      # right before what cannot be undone: is the lease still mine?
        ...
"""

from __future__ import annotations

import getpass
import json
import multiprocessing
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gatecast.core.errors import RegistryError
from gatecast.core.home import home

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
_LEASES = sa.Table(
    "leases",
    _METADATA,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("holder", sa.String(255), nullable=False),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
# Seconds that a lease lives unless it is renewed.
SECONDS = 30.0
# Seconds that a process waits for the lease of another one.
PATIENCE = 45.0
# A lease that ends this many seconds later than any should was taken before the clock was set back. A holder that lives
# has renewed it by the new clock.
_AHEAD = 600.0


@dataclass(frozen=True)
class Entry:
    """A row of the ledger.

    Attributes:
        id: its number, growing.
        at: when it was written, UTC.
        kind: what it records: promotion, scoring, ….
        subject: a registered model or a source.
        facts: what is recorded.
    """

    id: int
    at: str
    kind: str
    subject: str
    facts: dict[str, Any]


def _create(engine: sa.Engine) -> None:
    """Create the tables that are missing; of several processes at the same time, one creates each."""
    for table in _METADATA.sorted_tables:
        try:
            table.create(engine, checkfirst=True)
        except sa.exc.DBAPIError:
            if not sa.inspect(engine).has_table(table.name):
                raise


def who() -> str:
    """This process, for people: ``user@host, process n``."""
    try:
        user = getpass.getuser()
    # a container's user without a name
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"


def display(uri: str) -> str:
    """The display form of an address: no password, and relative to the current folder."""
    uri = uri.replace(f"{Path.cwd()}/", "")
    try:
        return sa.make_url(uri).render_as_string(hide_password=True)
    # an http server
    except sa.exc.ArgumentError:
        return re.sub(r"//[^/@]*@", "//***@", uri)


class Ledger:
    """The ledger at an address, created if there is none.

    Raises:
        RegistryError: LEDGER if it cannot be opened.
    """

    def __init__(self, uri: str | None = None) -> None:
        self.uri = (
            uri or os.environ.get("GATECAST_LEDGER_URI") or f"sqlite:///{home() / 'ledger.db'}"
        )
        patience = {"timeout": 60} if self.uri.startswith("sqlite") else {}
        with self._coded_errors():
            self._engine = sa.create_engine(self.uri, connect_args=patience)
            _create(self._engine)

    @contextmanager
    def _coded_errors(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise RegistryError(
                "LEDGER",
                f"the ledger does not answer: {str(error).splitlines()[0]}",
                "Correct GATECAST_LEDGER_URI, start its database, or install its driver.",
            ) from None

    def append(
        self, kind: str, subject: str, facts: dict[str, Any], key: str | None = None
    ) -> Entry | None:
        """Add a row.

        Args:
            kind, subject, facts: see :class:`Entry`.
            key: at most one row has it, whoever writes it.

        Returns:
            The row, or None if another row has this key.

        Raises:
            RegistryError: LEDGER if it cannot be written.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = {
            "at": at,
            "kind": kind,
            "subject": subject,
            "facts": json.dumps(facts, sort_keys=True),
            "once": key,
        }
        with self._coded_errors():
            try:
                with self._engine.begin() as connection:
                    inserted = connection.execute(_ENTRIES.insert().values(row))
            except sa.exc.IntegrityError:
                return None
        assert inserted.inserted_primary_key is not None
        return Entry(int(inserted.inserted_primary_key[0]), at, kind, subject, facts)

    def entries(self, kind: str, subject: str | None = None) -> list[Entry]:
        """Rows of a kind, oldest first."""
        query = _ENTRIES.select().where(_ENTRIES.c.kind == kind).order_by(_ENTRIES.c.id)
        if subject is not None:
            query = query.where(_ENTRIES.c.subject == subject)
        with self._coded_errors(), self._engine.connect() as connection:
            return [
                Entry(r.id, r.at, r.kind, r.subject, json.loads(r.facts))
                for r in connection.execute(query)
            ]

    def find(self, key: str) -> Entry | None:
        """The row that has this key, if there is one."""
        return self._one(_ENTRIES.select().where(_ENTRIES.c.once == key))

    def first(self, subject: str, *kinds: str) -> Entry | None:
        """The oldest row of any of these kinds."""
        mine = (_ENTRIES.c.subject == subject) & _ENTRIES.c.kind.in_(kinds)
        return self._one(_ENTRIES.select().where(mine).order_by(_ENTRIES.c.id).limit(1))

    def last(self, subject: str, *kinds: str) -> Entry | None:
        """The newest row of any of these kinds."""
        mine = (_ENTRIES.c.subject == subject) & _ENTRIES.c.kind.in_(kinds)
        return self._one(_ENTRIES.select().where(mine).order_by(_ENTRIES.c.id.desc()).limit(1))

    def _one(self, query: sa.Select[Any]) -> Entry | None:
        with self._coded_errors(), self._engine.connect() as connection:
            r = connection.execute(query).first()
        return Entry(r.id, r.at, r.kind, r.subject, json.loads(r.facts)) if r else None

    def recorded(self, keys: Sequence[str]) -> set[str]:
        """Those of some keys that a row has."""
        known: set[str] = set()
        # databases limit the parameters of a statement
        for begin in range(0, len(keys), 500):
            query = sa.select(_ENTRIES.c.once).where(_ENTRIES.c.once.in_(keys[begin : begin + 500]))
            with self._coded_errors(), self._engine.connect() as connection:
                known |= set(connection.execute(query).scalars())
        return known

    @contextmanager
    def lease(
        self,
        name: str,
        seconds: float | None = None,
        patience: float | None = None,
        waiting: Callable[[str], None] | None = None,
    ) -> Iterator[Lease]:
        """Hold a lease, which one process has at a time: renewed while the block runs, returned at its end.

        Args:
            name: of the lease.
            seconds: after which it is free again if this process dies; None: half a minute.
            patience: seconds to wait for another holder; None: long enough for one that died.
            waiting: called with the holder, several times a second, while this process waits.

        Raises:
            RegistryError: LEASE if another process keeps it; MAIN if a process that would wait for this one is just
                starting it; LEDGER.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise RegistryError(
                "MAIN",
                "a worker process has run the script that started it, up to this lease.",
                'Put the script\'s calls under `if __name__ == "__main__":`.',
            )
        seconds = SECONDS if seconds is None else seconds
        until = time.monotonic() + (PATIENCE if patience is None else patience)
        while (token := self._take(name, seconds)) is None:
            if time.monotonic() > until:
                raise RegistryError(
                    "LEASE",
                    f"{name} is held by {self._holder(name)}.",
                    f"Wait until it has ended. If it is dead, its lease ends after {seconds:g} seconds.",
                )
            if waiting:
                waiting(self._holder(name))
            time.sleep(min(0.2, seconds / 10))
        lease = Lease(self, name, token, seconds)
        ended = threading.Event()
        heart = threading.Thread(target=lease.beat, args=(ended,), daemon=True)
        heart.start()
        try:
            yield lease
        finally:
            ended.set()
            heart.join()
            # must not hide what ended the block
            with suppress(RegistryError):
                lease.renew(-1.0)

    def _now(self) -> Any:
        """Seconds since 1970 by the clock of the database's server; of this machine for SQLite."""
        if self._engine.dialect.name == "postgresql":
            return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)
        return sa.literal(time.time())

    def _take(self, name: str, seconds: float) -> int | None:
        """The token of a lease that was free; tokens of a name only grow. None if it is held."""
        now = self._now()
        mine = {"holder": who(), "expires_at": now + seconds}
        expires = _LEASES.c.expires_at
        free = (_LEASES.c.name == name) & ((expires < now) | (expires > now + seconds + _AHEAD))
        again = _LEASES.update().where(free).values(mine | {"token": _LEASES.c.token + 1})
        first = _LEASES.insert().values(mine | {"name": name, "token": 1})
        with self._coded_errors():
            with self._engine.begin() as connection:
                token = connection.execute(again.returning(_LEASES.c.token)).scalar()
            if token is not None:
                return int(token)
            try:
                with self._engine.begin() as connection:
                    connection.execute(first)
            except sa.exc.IntegrityError:
                return None
        return 1

    def _holder(self, name: str) -> str:
        with self._coded_errors(), self._engine.connect() as connection:
            query = sa.select(_LEASES.c.holder).where(_LEASES.c.name == name)
            return str(connection.execute(query).scalar())


@dataclass(frozen=True)
class Lease:
    """A lease that this process holds, by a token that no later holder has."""

    ledger: Ledger
    name: str
    token: int
    seconds: float

    def renew(self, seconds: float) -> bool:
        """Let it end so many seconds from now; false if another process has taken it."""
        mine = (_LEASES.c.name == self.name) & (_LEASES.c.token == self.token)
        change = _LEASES.update().where(mine).values(expires_at=self.ledger._now() + seconds)
        with self.ledger._coded_errors(), self.ledger._engine.begin() as connection:
            return connection.execute(change).rowcount == 1

    def beat(self, ended: threading.Event) -> None:
        """Renew it until the event is set; a ledger that does not answer now may answer at the next beat."""
        while not ended.wait(self.seconds / 3):
            with suppress(RegistryError):
                self.renew(self.seconds)

    def check(self) -> None:
        """Make sure that it is still held, and for all its seconds from now.

        Raises:
            RegistryError: LEASE-LOST if this process slept so long that another has taken it; LEDGER.
        """
        if not self.renew(self.seconds):
            raise RegistryError(
                "LEASE-LOST",
                f"{self.name}: the lease ran out, and {self.ledger._holder(self.name)} has taken it.",
                "Run the command again.",
            )
