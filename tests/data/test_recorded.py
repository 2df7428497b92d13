"""Reading a feed by the columns of a panel that was built by another recipe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from gatecast.core.errors import IngestError
from gatecast.data import ingest
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Feed
from gatecast.data.panel import Panel
from gatecast.data.recorded import as_recorded, widened

MakeFeed = Callable[..., Feed]
RICH = {"static": ["area", "kind"], "past": ["stock"], "future": ["price"], "categorical": ["kind"]}


@pytest.fixture
def rich(make_feed: MakeFeed) -> Feed:
    """Two series, the second of which begins later, with covariates of every role."""
    rng = np.random.default_rng(2)
    frames = []
    for name, begin in (("a", 0), ("b", 7)):
        ds = pd.date_range("2024-01-01", periods=60, freq="h")[begin:]
        columns = {"stock": rng.normal(size=len(ds)), "price": rng.normal(size=len(ds))}
        frame = pd.DataFrame({"id": name, "ds": ds, "y": rng.normal(size=len(ds)), **columns})
        frames.append(frame.assign(area=float(begin), kind=f"kind {name}"))
    return make_feed(pd.concat(frames).to_csv(index=False), cov=RICH)


def built(feed: Feed) -> Panel:
    checked = ingest.check_feed(feed)
    return build_panel(checked.observations, checked.static, feed)


def edited(feed: Feed, **roles: list[str]) -> Feed:
    return feed.model_copy(update={"covariates": Covariates(**roles)})


def test_a_feed_as_recorded_builds_the_recorded_panel_whatever_its_recipe_says(rich: Feed) -> None:
    then = built(rich)
    for roles in ({}, {"future": ["stock"], "past": ["price"]}, RICH | {"categorical": []}):
        assert built(as_recorded(edited(rich, **roles), then.meta)).meta.data_hash == (
            then.meta.data_hash
        )


def test_a_widened_panel_has_the_columns_beside_its_own_and_the_same_rows(rich: Feed) -> None:
    narrow, then = built(edited(rich, past=["price"], static=["kind"])), built(rich)
    wide = widened(narrow, then.meta, rich, None)
    assert [c.name for c in wide.meta.channels] == ["y", "price", "stock"]
    assert [c.name for c in wide.meta.static] == ["kind", "area"]
    np.testing.assert_array_equal(wide.values, then.values[:, [0, 2, 1]])
    np.testing.assert_array_equal(wide.static, then.static[:, [1, 0]])
    assert wide.meta.splits == narrow.meta.splits
    assert wide.indptr is narrow.indptr


def test_rows_that_the_feed_no_longer_has_are_unknown(rich: Feed) -> None:
    narrow, then = built(edited(rich)), built(rich)
    table = pd.read_csv("feed.csv")
    late = table[(table["ds"] > "2024-01-01 12:00") & (table["id"] == "b")]
    late.to_csv("feed.csv", index=False)
    wide = widened(narrow, then.meta, rich, None)
    stock = wide.values[:, [c.name for c in wide.meta.channels].index("stock")]
    known = ~np.isnan(stock)
    np.testing.assert_array_equal(stock[known], late["stock"].to_numpy(np.float32))
    assert known.sum() == len(late)
    assert np.isnan(wide.static[0, 0])
    assert wide.static[0, 1] == 0


def test_a_panel_that_lacks_nothing_is_not_read_again(rich: Feed) -> None:
    panel = built(rich)
    gone = rich.model_copy(update={"files": []})
    assert widened(panel, built(edited(rich, past=["price"])).meta, gone, None) is panel


def test_another_source_is_not_read_for_it(rich: Feed) -> None:
    narrow, then = built(edited(rich)), built(rich)
    with pytest.raises(IngestError, match="SOURCE"):
        widened(narrow, then.meta, rich.model_copy(update={"name": "other"}), None)


def test_a_covariate_that_a_feed_lacks_is_named(rich: Feed) -> None:
    with pytest.raises(IngestError, match=r"no column 'pries', 'stocks'. Did you mean 'price'"):
        ingest.check_feed(edited(rich, past=["pries", "stocks"]))


def test_a_covariate_of_a_source_that_makes_its_own_table_is_named_too(rich: Feed) -> None:
    raw = pd.DataFrame(
        {"unique_id": ["a"], "ds": ["2024-01-01"], "y": [1.0], "file": "f", "line": 1}
    )
    with pytest.raises(IngestError, match=r"source 'shop' has no column 'stock', 'price'"):
        ingest.contract.check(raw, edited(rich, past=["stock"], future=["price"]))
