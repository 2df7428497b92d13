"""Settings that name an entry of a registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AfterValidator
from pydantic_core import PydanticKnownError


def one_of(names: Mapping[str, Any]) -> AfterValidator:
    """A string that must be a key of ``names``."""

    def check(value: str) -> str:
        if value not in names:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(names)})
        return value

    return AfterValidator(check)
