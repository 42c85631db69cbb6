"""Reports of runs and studies as one self-contained page."""

from analog_ep.reporting.composing import report
from analog_ep.reporting.page import Report, Section

__all__ = ["Report", "Section", "report"]
