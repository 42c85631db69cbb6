"""Tables of transistors whose cards are a foundry's or the designer's own, by what ngspice makes of these."""

from analog_ep.calibration.foundry.library import read_card
from analog_ep.calibration.foundry.tabulation import ALLOWED, TableRange, tabulate, tabulated

__all__ = ["ALLOWED", "TableRange", "read_card", "tabulate", "tabulated"]
