"""Operational amplifiers of which a network's amplifiers are wired, as a table of a spec."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Self

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from analog_ep.designs.op_amps import OpAmps, library_of, with_op_amps
from analog_ep.designs.writing import save_files
from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.networks import ConductanceNetwork, HardwareNetwork
from analog_ep.networks.circuit_network import network_on
from analog_ep.spec.files import FileTable

KEPT = "op_amps"
"""Folder of a run that keeps the library."""


class OpAmpsSpec(FileTable):
    """See `analog_ep.designs.op_amps.OpAmps`, whose fields these are.

    Attributes
    ----------
    library : str
        Path of a file with ``.subckt operational_amplifier inp inn out params: offset=0``; without it the
        ``netlists/operational_amplifier.lib`` that comes with the toolkit.
    """

    file_keys: ClassVar[tuple[str, ...]] = ("library",)

    library: str | None = None
    parameters: dict[str, float] = Field({})
    offset_spread: NonNegativeFloat = 0.0
    seed: NonNegativeInt = 0
    sense_resistance: PositiveFloat = 1e6
    gain_resistance: PositiveFloat = 1e5
    hold_capacitance: PositiveFloat = 2e-12
    pump_capacitance: PositiveFloat = 0.5e-12
    node_capacitance: PositiveFloat = 1e-12

    def wired(self, network: ConductanceNetwork, dtype: torch.dtype) -> HardwareNetwork:
        """The network with its amplifiers so wired, and the parameters of the ideal one.

        Raises
        ------
        CircuitError, NetlistError
            See `with_op_amps`.
        """
        return network_on(with_op_amps(network.circuit(), OpAmps(**self.model_dump())), network, dtype)

    def build_solver(self, engine: str) -> Solver:
        """The solver of any circuit."""
        return Ngspice() if engine == "ngspice" else Newton()

    def keep(self, folder: Path) -> Self:
        if self.library is None:
            return self
        name = f"{KEPT}/{os.path.basename(self.library)}"
        save_files(library_of(self.library).files, (), {}, folder / name)
        return self.with_paths(lambda _: name)

    def contents(self) -> dict[str, bytes]:
        if self.library is None:
            return {}
        files = library_of(self.library).files
        home = os.path.dirname(os.path.realpath(files[0].path))
        return {os.path.relpath(os.path.realpath(f.path), home): f.text.encode(f.encoding) for f in files}
