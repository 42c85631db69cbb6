"""The wires of a network's crossbars, as a table of a spec."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, NonNegativeFloat, PositiveInt

from analog_ep.networks import CrossbarNetwork, HardwareNetwork, Wires
from analog_ep.networks.lines import IdealLines
from analog_ep.networks.needs import crossbars_of
from analog_ep.spec.table import TABLE


class WiresSpec(BaseModel):
    """See `analog_ep.networks.Wires`, whose fields these are; without the table lines have no resistance.

    Attributes
    ----------
    known : bool
        Whether gradients know the wires. Otherwise they are those of ideal ones, as of a training by a model of the
        hardware that leaves wires out; accuracies, netlists and analyses have them all the same.
    """

    model_config = TABLE

    row_resistance: NonNegativeFloat = 0.0
    column_resistance: NonNegativeFloat = 0.0
    driver_resistance: NonNegativeFloat = 0.0
    join_resistance: NonNegativeFloat = 0.0
    cell_resistance: NonNegativeFloat = 0.0
    segment_capacitance: NonNegativeFloat = 0.0
    temperature_coefficient: float = 0.0
    driven_at: Literal["first", "last", "both"] = "first"
    sensed_at: Literal["first", "last", "both"] = "last"
    tile_rows: PositiveInt | None = None
    tile_columns: PositiveInt | None = None
    known: bool = True

    def laid(self, network: HardwareNetwork) -> CrossbarNetwork:
        """The network with these wires.

        Raises
        ------
        NetworkError
            If it has no crossbars.
        """
        return _crossbars(network).rewired(Wires(**self.model_dump(exclude={"known"})))

    def believed(self, network: HardwareNetwork) -> HardwareNetwork:
        """What gradients are of: the network with its wires, or one that has its very parameters and ideal wires."""
        if self.known:
            return network
        twin = _crossbars(network).rewired(IdealLines())
        for name, parameter in network.named_parameters():
            setattr(twin, name, parameter)
        return twin


def _crossbars(network: HardwareNetwork) -> CrossbarNetwork:
    return crossbars_of(network, "wires need a ResistiveNetwork", "leave them out")
