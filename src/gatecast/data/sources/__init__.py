"""Sources: where raw feeds come from. One class per kind of source, by the name that a recipe's ``kind`` gives it.

    sources.read(feed)               the long table of the whole raw feed
    sources.fingerprint(feed, None)  what the raw feed is now, without reading its rows

A new source is a module beside ``files.py`` with a class that follows :class:`Source` and the schema of its recipe, and
a line in ``SOURCES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gatecast.core.schema import read_kind
from gatecast.data.config import Feed, SourceRecipe
from gatecast.data.sources.base import Source
from gatecast.data.sources.demo import DemoSource
from gatecast.data.sources.files import FileSource

SOURCES: dict[str, type[Source]] = {"files": FileSource, "demo": DemoSource}


def read_feed(content: Mapping[str, Any], where: str, **names: Any) -> SourceRecipe:
    """Read a source recipe; see :func:`gatecast.core.schema.read_kind`."""
    recipes = {kind: source.recipe for kind, source in SOURCES.items()}
    return read_kind(recipes, content, where, **names)


def source(feed: Feed) -> Source:
    """The source that a recipe describes."""
    return SOURCES[feed.kind](feed)


def read(feed: Feed, as_of: str | None = None) -> pd.DataFrame:
    """Read the whole raw feed; see :meth:`Source.read`."""
    return source(feed).read(as_of)


def read_actuals(feed: Feed) -> pd.DataFrame | None:
    """Values that came after the feed's end, or None if the recipe names none; see :meth:`Source.read_actuals`."""
    return source(feed).read_actuals()


def unseen(feed: Feed) -> list[str]:
    """Addresses of what may change without DVC seeing it; see :meth:`Source.unseen`."""
    return source(feed).unseen()


def fingerprint(feed: Feed, as_of: str | None) -> dict[str, Any]:
    """What the raw feed is now. Holds no path of this machine, so that it can be compared between machines."""
    return {"source": feed.name, "as_of": as_of, "files": source(feed).fingerprint()}
