"""Heads: from what a decoder hands them to a predictive distribution, and its loss.

    quantile            the levels themselves, by their quantile loss
    point               one number by mae, mse or huber; around it, per step and level, the spread of its errors
    normal, student     location and scale (and degrees of freedom), by their likelihood
    negative_binomial   mean and dispersion of a count, by its likelihood in units of the target
    event               a hazard per step: the probability that the event has happened

To add one: a file with its settings (a :class:`~gatecast.core.schema.Schema` with its ``name``) and its
:class:`~gatecast.models.heads.base.Head`, and a line in both tables below.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gatecast.models.heads.base import DistributionHead, Head
from gatecast.models.heads.event import Event, EventHead
from gatecast.models.heads.negative_binomial import NegativeBinomial, NegativeBinomialHead
from gatecast.models.heads.normal import Normal, NormalHead
from gatecast.models.heads.point import Point, PointHead
from gatecast.models.heads.quantile import Quantile, QuantileHead
from gatecast.models.heads.student import Student, StudentHead

HeadSettings = Annotated[
    Quantile | Point | Normal | Student | NegativeBinomial | Event, Field(discriminator="name")
]
HEADS: dict[type[Any], type[Head]] = {
    Quantile: QuantileHead,
    Point: PointHead,
    Normal: NormalHead,
    Student: StudentHead,
    NegativeBinomial: NegativeBinomialHead,
    Event: EventHead,
}


def is_distribution(settings: Any) -> bool:
    """Whether the head of these settings can be sampled."""
    return issubclass(HEADS[type(settings)], DistributionHead)
