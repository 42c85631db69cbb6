"""Maps of crossbars, rows × columns: conductances, the voltage across each, its current, and what a step changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.analyses.crossbar_map import CrossbarMap
from analog_ep.circuit import Chip
from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.networks import CrossbarNetwork, HardwareNetwork
from analog_ep.networks.needs import crossbars_of
from analog_ep.stimulus import Nudge
from analog_ep.support.shown import Tabled
from analog_ep.support.si import si

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class VoltageMap(Tabled):
    """The crossbars of a network at one sample.

    Attributes
    ----------
    crossbars : tuple of CrossbarMap
        From the inputs to the outputs.
    """

    crossbars: tuple[CrossbarMap, ...]

    def with_changes(self, changes: Mapping[str, np.ndarray]) -> VoltageMap:
        """The same with the change of every conductance by the name of its parameter. [S]

        Raises
        ------
        StimulusError
            If a crossbar has none, or one of another shape.
        """
        for each in self.crossbars:
            shape = np.shape(changes.get(each.label, ()))
            if shape != each.siemens.shape:
                raise StimulusError(f"changes of {each.label} must have shape {each.siemens.shape}, found {shape}")
        return VoltageMap(tuple(replace(each, change=np.asarray(changes[each.label])) for each in self.crossbars))

    def to_json(self) -> str:
        """All maps as a JSON object, by the crossbars' names."""
        return json.dumps(
            {
                each.label: {
                    "conductances": each.siemens.tolist(),
                    "voltages": each.volts.tolist(),
                    "currents": each.amperes.tolist(),
                    "power": each.watts,
                    **({} if each.change is None else {"changes": each.change.tolist()}),
                }
                for each in self.crossbars
            }
        )

    def table(self) -> Table:
        """A row a crossbar."""
        table = Table("crossbar", "cells", "conductances", "largest voltage", "largest current", "power")
        for each in self.crossbars:
            rows, columns = each.siemens.shape
            table.add_row(
                each.label,
                f"{rows} × {columns}",
                f"{si(each.siemens.min(), 'S')} … {si(each.siemens.max(), 'S')}",
                si(np.abs(each.volts).max(), "V"),
                si(np.abs(each.amperes).max(), "A"),
                si(each.watts, "W"),
            )
        return table

    def plot(self) -> Figure:
        """The maps as images, a row of them a crossbar, with colour bars."""
        # Loaded where something is drawn: no command waits for it.
        from analog_ep.analyses.map_plots import map_figure

        return map_figure(self.crossbars)


def voltage_map(
    network: HardwareNetwork,
    inputs: Tensor,
    nudge: Nudge | None = None,
    *,
    solver: Solver | None = None,
    chip: Chip | None = None,
) -> VoltageMap:
    """Voltages across the conductances of every crossbar, and the currents through them.

    Parameters
    ----------
    network : HardwareNetwork
        One with crossbars, such as a `ResistiveNetwork`.
    inputs : Tensor (n_inputs,)
        One sample. [V]
    nudge : Nudge, optional
        By default the free phase is shown.
    solver : Solver, optional
        By default the fast one of the network.
    chip : Chip, optional
        Mismatch of the hardware.

    Raises
    ------
    StimulusError
        If the network has no crossbars, or the inputs are not one sample.
    ConvergenceError
        If the equilibrium was not reached.
    """
    network = crossbars_of(network, "a voltage map needs crossbars in layers", "map a ResistiveNetwork")
    found = solve(network, inputs, nudge, solver=solver_of(network) if solver is None else solver, chip=chip)
    if found.inputs.ndim != 1:
        raise StimulusError(f"a voltage map shows one sample, found inputs of shape {tuple(found.inputs.shape)}")
    return VoltageMap(tuple(_maps(network, found.inputs, found.layers, chip)))


def _maps(network: CrossbarNetwork, inputs: Tensor, layers: tuple[Tensor, ...], chip: Chip | None) -> list[CrossbarMap]:
    before, maps = inputs, []
    for s, (layout, layer) in enumerate(zip(network.layouts, layers, strict=True)):
        layer = layer.to(inputs)
        if s:
            gain, offset = network.amplifiers(s, chip, layers[s - 1])
            before = (gain * (layers[s - 1] + offset)).to(inputs)
        crossbar = network.crossbar(s, chip)
        volts = crossbar.cell_voltages(before[None].to(crossbar.siemens), layer[None].to(crossbar.siemens))[0]
        maps.append(CrossbarMap(layout.label, layout.at_cells(crossbar.siemens).cpu().numpy(), volts.cpu().numpy()))
    return maps


def changes_of_cells(network: HardwareNetwork, changes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Changes of parameters [S] as the maps of a network show them: at every cell; 0 where nothing learns."""
    network = crossbars_of(network, "changes of cells need crossbars in layers", "map a ResistiveNetwork")
    found = {}
    for layout in network.layouts:
        change = torch.as_tensor(changes[layout.label] if layout.learns else np.zeros(layout.shape))
        found[layout.label] = layout.at_cells(change).numpy()
    return found


def plot_voltage_map(
    network: HardwareNetwork,
    inputs: Tensor,
    nudge: Nudge | None = None,
    *,
    solver: Solver | None = None,
    chip: Chip | None = None,
) -> Figure:
    """Draw what `voltage_map` finds: conductances, voltages and currents of every crossbar as images.

    Parameters and errors are those of `voltage_map`.

    Returns
    -------
    matplotlib.figure.Figure
        `figure.savefig("map.png")` writes it.
    """
    return voltage_map(network, inputs, nudge, solver=solver, chip=chip).plot()
