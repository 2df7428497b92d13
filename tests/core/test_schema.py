"""Settings are read by their schema, and a fault names the file or the command line, the key and the way out."""

from __future__ import annotations

from typing import Any, Literal, Self

import pytest
from pydantic import Field, field_validator, model_validator

from gatecast.core.errors import ConfigError
from gatecast.core.schema import (
    COMMAND_LINE,
    Schema,
    Text,
    fields,
    known_keys,
    read,
    read_kind,
    refuse,
    require,
    type_name,
)


class Spans(Schema):
    test: float = 0.2

    @field_validator("test")
    @classmethod
    def _positive(cls, value: float) -> float:
        require(value > 0, "", value, "above 0")
        return value


class File(Schema):
    path: str = ""


class Shop(Schema):
    """What the tests read."""

    kind: Literal["shop"] = "shop"
    size: int = Field(default=1, ge=1, le=9)
    """How large it is."""

    share: float = 0.5
    is_open: bool = True
    colour: Literal["red", "green"] = "red"
    ids: list[Text] = Field(default_factory=list)
    spans: Spans = Spans()
    files: list[File] = Field(default_factory=list)
    limits: dict[str, float] = Field(default_factory=dict)
    by_name: dict[str, Spans] = Field(default_factory=dict)
    door: str | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.colour == "green" and not self.is_open:
            raise refuse("COMBINATION", "`colour: green` is of shops that are open")
        require(self.size < 9 or self.share < 1, "share", self.share, "below 1 where `size` is 9")
        return self


def refused(content: dict[str, Any], **names: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(Shop, content, "conf/shop.yaml", **names)
    return caught.value


def test_what_is_left_out_has_its_default() -> None:
    assert read(Shop, {"size": 3}, "conf/shop.yaml").model_dump(by_alias=True) == {
        "kind": "shop",
        "size": 3,
        "share": 0.5,
        "is_open": True,
        "colour": "red",
        "ids": [],
        "spans": {"test": 0.2},
        "files": [],
        "limits": {},
        "by_name": {},
        "from": None,
    }


def test_a_whole_number_is_a_number_and_a_number_may_be_a_text() -> None:
    shop = read(Shop, {"share": 1, "ids": [17, "b"]}, "conf/shop.yaml")
    assert (shop.share, shop.ids) == (1.0, ["17", "b"])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("is_open", "yes", "`is_open` cannot be used: 'yes' is not a valid boolean"),
        ("is_open", 1, "`is_open` cannot be used: 1"),
        ("size", 3.7, "`size` cannot be used: 3.7 is not a valid integer"),
        ("size", True, "`size` cannot be used: True"),
        ("size", "3", "`size` cannot be used: '3'"),
        ("share", "half", "`share` cannot be used: 'half' is not a valid number"),
        ("ids", {"a": 1}, "`ids` cannot be used: {'a': 1} is not a valid list"),
        ("spans", 3, "`spans` cannot be used: 3 is not a mapping"),
        ("limits", {"above": "x"}, "`limits.above` cannot be used: 'x'"),
    ],
)
def test_another_type_is_refused(key: str, value: Any, said: str) -> None:
    error = refused({key: value})
    assert error.code == "VALUE"
    assert f"conf/shop.yaml: {said}" in str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"size": 0}, "`size` is 0, but must be 1 or more"),
        ({"size": 10}, "`size` is 10, but must be 9 or less"),
        ({"share": float("nan")}, "`share` is nan, but must be a finite number"),
        ({"spans": {"test": -1.0}}, "`spans.test` is -1.0, but must be above 0"),
        ({"by_name": {"a": {"test": -1.0}}}, "`by_name.a.test` is -1.0, but must be above 0"),
        ({"size": 9, "share": 1.0}, "`share` is 1.0, but must be below 1 where `size` is 9"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_rule(content: dict[str, Any], said: str) -> None:
    error = refused(content)
    assert error.code == "RANGE"
    assert f"conf/shop.yaml: {said}" in str(error)


@pytest.mark.parametrize(
    ("content", "key", "meant"),
    [
        ({"sise": 1}, "sise", "size"),
        ({"spans": {"tets": 1}}, "spans.tets", "test"),
        ({"files": [{"path": "a"}, {"paht": "b"}]}, "files[1].paht", "path"),
        ({"by_name": {"a": {"tset": 1}}}, "by_name.a.tset", "test"),
        ({"form": "b"}, "form", "from"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    content: dict[str, Any], key: str, meant: str
) -> None:
    error = refused(content)
    assert error.code == "UNKNOWN-KEY"
    assert f"there is no setting `{key}`. Did you mean '{meant}'?" in str(error)


def test_a_choice_is_refused_with_those_there_are() -> None:
    error = refused({"colour": "gren"})
    assert error.code == "CHOICE"
    assert "one of red, green. Did you mean 'green'?" in str(error)


def test_settings_that_do_not_go_together_have_a_code_of_their_own() -> None:
    error = refused({"colour": "green", "is_open": False})
    assert error.code == "COMBINATION"
    assert "conf/shop.yaml: `colour: green` is of shops that are open." in str(error)


def test_a_setting_that_is_missing_is_named() -> None:
    class Strict(Schema):
        path: str

    with pytest.raises(ConfigError, match="`path` is missing"):
        read(Strict, {}, "conf/shop.yaml")


def test_a_fault_in_what_the_command_line_sets_is_the_command_lines() -> None:
    given = {"package": "shop.", "overridden": {"shop.size": COMMAND_LINE}}
    assert "the command line: `shop.size` is 0" in str(refused({"size": 0}, **given))
    assert "conf/shop.yaml: `share`" in str(refused({"share": "x"}, **given))
    whole = {"package": "shop.", "overridden": {"shop.spans": COMMAND_LINE}}
    assert "the command line: `shop.spans.test`" in str(refused({"spans": {"test": 0}}, **whole))


def test_where_a_list_is_meant_a_single_value_is_a_list_of_one() -> None:
    class Shops(Schema):
        names: list[str]
        shops: list[Shop]
        others: list[str] | None = None
        plain: str | list[str] | None = None

    content = {"names": "a", "shops": {"size": 3}, "others": "b", "plain": "c"}
    shops = read(Shops, content, "conf/shop.yaml")
    assert (shops.names, shops.others, shops.plain) == (["a"], ["b"], "c")
    assert [shop.size for shop in shops.shops] == [3]


def test_what_another_file_sets_is_blamed_on_it() -> None:
    others = {"package": "shop.", "overridden": {"shop.size": "conf/else.yaml"}}
    assert "conf/else.yaml: `shop.size` is 0" in str(refused({"size": 0}, **others))


def test_a_prefix_says_where_in_the_file_a_key_stands() -> None:
    assert "conf/shop.yaml: `big.size` is 0" in str(refused({"size": 0}, prefix="big."))


def test_the_kind_says_which_schema_it_is() -> None:
    class Van(Schema):
        kind: Literal["van"] = "van"
        wheels: int = 4

    kinds: dict[str, type[Schema]] = {"shop": Shop, "van": Van}
    assert isinstance(read_kind(kinds, {}, "x.yaml"), Shop)
    assert isinstance(read_kind(kinds, {"kind": "van", "wheels": 3}, "x.yaml"), Van)
    for content, code in (({"kind": "vam"}, "CHOICE"), ({"kind": "van", "size": 3}, "UNKNOWN-KEY")):
        with pytest.raises(ConfigError) as caught:
            read_kind(kinds, content, "x.yaml")
        assert caught.value.code == code


def test_the_text_below_a_field_is_its_description() -> None:
    assert fields(Shop)["size"].description == "How large it is."
    assert "from" in fields(Shop)


def test_the_keys_at_a_place_of_a_schema() -> None:
    assert known_keys(Shop, ["spans"]) == {"test"}
    assert known_keys(Shop, ["files", "0"]) == {"path"}
    assert known_keys(Shop, ["size"]) == set()


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int | None, "whole number | null"),
        (list[Text], "list of text"),
        (Literal["a", "b"], "a | b"),
        (dict[str, float], "mapping"),
        (Spans, "settings"),
        (bool, "true | false"),
    ],
)
def test_a_type_has_a_name_for_people(annotation: Any, name: str) -> None:
    assert type_name(annotation) == name
