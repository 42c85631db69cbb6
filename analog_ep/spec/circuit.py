"""Table of a spec that trains a designer's own netlist."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, PositiveFloat

from analog_ep.circuit.energy import why_no_contrast
from analog_ep.designs import Design, read_netlist
from analog_ep.designs.checking import Comparison, check_design
from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.solver_of import circuit_solver
from analog_ep.errors import SpecError
from analog_ep.networks import CircuitNetwork, HardwareNetwork, Network
from analog_ep.networks.needs import conductances_of
from analog_ep.spec.diodes import DiodeSpec
from analog_ep.spec.gradients.table import GradientTable
from analog_ep.spec.network import NetworkTable
from analog_ep.spec.relaxation import RelaxationSpec
from analog_ep.spec.table import quoted

ORIGINAL = "design"
"""Folder of a run that keeps the netlist, and what it includes, as they were read."""

_Pair = Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]
_Names = Annotated[list[str], Field(min_length=1)]


class CircuitSpec(NetworkTable):
    """A netlist as a network: see `analog_ep.designs.read_netlist`; what is left out is marked in the deck.

    Attributes
    ----------
    netlist : str
        Path from the spec's folder.
    trainable : list of str
        Resistors, with ``*`` and ``?``.
    bounds : [float, float] or list of [float, float]
        Range of their conductances, or one for each of the names in `trainable`. [S]
    inputs : list of str
        Voltage sources.
    outputs : list of str
        Nodes, or pairs such as "a,b".
    reference_conductance : float
        See `analog_ep.networks.CircuitNetwork`; by default the largest g_max. [S]
    reciprocal : bool
        Whether the circuit must have an energy to learn by phases; see there.
    """

    idle_tables: ClassVar[tuple[str, ...]] = ("diode", "wires", "relaxation")
    own_defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "cost": {"function": "cross_entropy", "logit_scale": 0.1},
        "gradient": {"method": "implicit"},
        "training": {"epochs": 100, "batch_size": 0, "schedule": "constant", "dtype": "float64"},
    }
    file_keys: ClassVar[tuple[str, ...]] = ("netlist",)

    kind: Literal["circuit"]
    netlist: str
    trainable: _Names | None = None
    bounds: _Pair | Annotated[list[_Pair], Field(min_length=1)] | None = None
    inputs: _Names | None = None
    outputs: _Names | None = None
    reference_conductance: PositiveFloat | None = None
    reciprocal: bool = True

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.design().network().sizes

    @property
    def stages(self) -> None:
        return None

    @property
    def read_layers(self) -> int:
        return 1

    def refuse_held(self) -> None:
        raise ValueError('update.held has no meaning with network.kind = "circuit", whose rows are no pairs ±u')

    def refuse_gradient(self, gradient: GradientTable, network: HardwareNetwork) -> None:
        if gradient.needs_energy and not network.has_contrast:
            raise SpecError(
                f"gradient.method = {quoted(gradient.method)} needs a circuit with an energy, found {self.netlist}: "
                f'{why_no_contrast(network.circuit())}; use gradient.method = "adjoint", "asymmetric" or '
                '"implicit", or network.reciprocal = false for the contrast that hardware would form'
            )

    def design(self) -> Design:
        """What the netlist describes.

        Raises
        ------
        NetlistError
            See `read_netlist`.
        """
        return read_netlist(
            self.netlist, trainable=self.trainable, bounds=self._bounds(), inputs=self.inputs, outputs=self.outputs
        )

    def _bounds(self) -> list[tuple[float, float]] | tuple[float, float] | None:
        if self.bounds is None:
            return None
        pairs = [(pair[0], pair[1]) for pair in self.bounds if isinstance(pair, list)]
        shared = [bound for bound in self.bounds if not isinstance(bound, list)]
        return pairs or (shared[0], shared[1])

    def build(self, diodes: list[DiodeSpec], seed: int, dtype: torch.dtype) -> CircuitNetwork:
        """The network with the netlist's own conductances.

        Raises
        ------
        NetlistError
            If the netlist cannot be read, or is no network.
        """
        return self.design().network(dtype, self.reference_conductance, self.reciprocal)

    def build_solver(self, relaxation: RelaxationSpec, engine: str) -> Solver:
        """The solver of any circuit; ngspice runs the whole of it."""
        return circuit_solver(engine)

    def keep(self, folder: Path) -> Self:
        design = self.design()
        name = design.path.name
        design.save(folder / ORIGINAL / name, {})
        return self.with_paths(lambda _: f"{ORIGINAL}/{name}")

    def contents(self) -> dict[str, bytes]:
        files = self.design().files
        paths = [os.path.realpath(file.path) for file in files]
        names = [os.path.relpath(path, os.path.dirname(paths[0])) for path in paths]
        return {name: file.text.encode(file.encoding) for name, file in zip(names, files, strict=True)}

    def save_own(self, network: Network, path: Path) -> list[Path]:
        design = self.design()
        learnt = conductances_of(network, "a netlist needs a CircuitNetwork", "train it")
        return design.save(path / design.path.name if path.is_dir() else path, learnt)

    def check_own(self, network: Network) -> list[Comparison]:
        with tempfile.TemporaryDirectory(prefix="analog_ep_") as folder:
            learnt = str(self.save_own(network, Path(folder))[0])
            return check_design(self.with_paths(lambda _: learnt).design())
