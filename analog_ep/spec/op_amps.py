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
from analog_ep.equilibrium.solver_of import circuit_solver
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
    offset_spread: NonNegativeFloat = OpAmps.offset_spread
    seed: NonNegativeInt = OpAmps.seed
    sense_resistance: PositiveFloat = OpAmps.sense_resistance
    gain_resistance: PositiveFloat = OpAmps.gain_resistance
    hold_capacitance: PositiveFloat = OpAmps.hold_capacitance
    pump_capacitance: PositiveFloat = OpAmps.pump_capacitance
    node_capacitance: PositiveFloat = OpAmps.node_capacitance

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
        return circuit_solver(engine)

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
