"""A report as one HTML page."""

from __future__ import annotations

from datetime import datetime

from .._results import Summary
from ._report import ReportGatherer


def page(gathered: ReportGatherer, summary: Summary, *, ending: str, ended: datetime) -> str:
    raise NotImplementedError
