"""Numbers as JSON can hold them."""

from __future__ import annotations

import json
from typing import Any


def finite(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts as JSON can hold them: what is not a finite number becomes None."""
    return dict(json.loads(json.dumps(facts), parse_constant=lambda _: None))
