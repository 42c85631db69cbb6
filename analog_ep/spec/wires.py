"""The wires of a network's crossbars, as a table of a spec."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, NonNegativeFloat, PositiveInt

from analog_ep.networks import CrossbarNetwork, HardwareNetwork, Wires
from analog_ep.networks.needs import crossbars_of
from analog_ep.spec.table import TABLE


class WiresSpec(BaseModel):
    """See `analog_ep.networks.Wires`, whose fields these are; without the table lines have no resistance."""

    model_config = TABLE

    row_resistance: NonNegativeFloat = 0.0
    column_resistance: NonNegativeFloat = 0.0
    driver_resistance: NonNegativeFloat = 0.0
    cell_resistance: NonNegativeFloat = 0.0
    segment_capacitance: NonNegativeFloat = 0.0
    temperature_coefficient: float = 0.0
    driven_at: Literal["first", "last", "both"] = "first"
    sensed_at: Literal["first", "last", "both"] = "last"
    tile_rows: PositiveInt | None = None
    tile_columns: PositiveInt | None = None

    def laid(self, network: HardwareNetwork) -> CrossbarNetwork:
        """The network with these wires.

        Raises
        ------
        NetworkError
            If it has no crossbars.
        """
        crossbars = crossbars_of(network, "wires need a ResistiveNetwork", "leave them out")
        return crossbars.rewired(Wires(**self.model_dump()))
