"""neospice's adjoint sensitivities as the judge of a gradient: it shares nothing with the package but the netlist."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import GROUND, Chip, Circuit
from analog_ep.circuit.energy import why_irreciprocal
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import CircuitError, ConvergenceError, JudgeNotFoundError
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.gradients.propagation import SmallSignal
from analog_ep.netlist.netlist import NetlistWriter, SpiceOptions
from analog_ep.networks import ConductanceNetwork
from analog_ep.stimulus import Cost

NEOSPICE = "neospice"
"""The judge's name, and that of its package."""

_OPTIONS = SpiceOptions(reltol=1e-12)

_LETTERS = "rcvidefg"
"""Elements that it reads as they are. It leaves out functions with a warning, and gives 0 A for some transistors."""

_MOST_BRANCHES = 20_000
"""Its factorisation is not made for more."""


def adjoint_gradients(
    network: ConductanceNetwork, inputs: Tensor, targets: Tensor, cost: Cost, chip: Chip | None = None
) -> dict[str, Tensor]:
    """Gradient of the mean cost by every conductance, from netlists and neospice's adjoint solutions of them.

    Director and Rohrer's adjoint network (IEEE Trans. Circuit Theory 16, 1969, DOI 10.1109/TCT.1969.1082965), formed
    and solved by a program of its own: neither the energy, nor a nudge, nor this package's Jacobian enters.

    Parameters
    ----------
    network : ConductanceNetwork
        With stand-ins for ideal diodes, as it is exported.
    inputs, targets : Tensor (n_samples, n_inputs), (n_samples, n_outputs)
        As the chip's converters drive them [V], and the cost's targets.
    cost : Cost
        What is differentiated.
    chip : Chip, optional
        Mismatch of the hardware.

    Returns
    -------
    dict of str to Tensor
        By the name of each parameter, in its shape. [cost/S]

    Raises
    ------
    JudgeNotFoundError
        If neospice is not installed.
    CircuitError
        If the circuit has elements that neospice would read otherwise or leave out, has no outputs, or is too large.
    ConvergenceError
        If it finds no operating point.
    """
    judge, circuit = _neospice(), network.circuit(chip)
    if circuit.outputs is None:
        raise CircuitError(f"a judge of gradients needs outputs, found none in {circuit.title!r}")
    if circuit.n_branches > _MOST_BRANCHES:
        raise CircuitError(
            f"{NEOSPICE} judges circuits of at most {_MOST_BRANCHES:,} branches, found {circuit.n_branches:,}; "
            f"leave the judge out"
        )
    sums = {name: np.zeros(value.numel()) for name, value in network.conductances.items()}
    for sample, target in zip(inputs.double().cpu(), targets.double().cpu(), strict=True):
        _add(sums, judge, circuit, sample.numpy(), target, cost)
    shapes = {name: value.shape for name, value in network.conductances.items()}
    return {name: torch.from_numpy(each / len(inputs)).reshape(shapes[name]) for name, each in sums.items()}


def judged_gradients(
    network: ConductanceNetwork, inputs: Tensor, targets: Tensor, cost: Cost, chip: Chip | None = None
) -> dict[str, float]:
    """Difference of the gradient from the judge's, per crossbar, relative to its largest entry.

    The gradient is that of equilibrium propagation in the limit of vanishing nudges, in float64; of a chip or a circuit
    without an energy, whose phases do not give it, the implicit one. Arguments and errors: see `adjoint_gradients`.
    """
    twin = network.as_built()
    wanted = adjoint_gradients(twin, inputs, targets, cost, chip)
    inputs, targets = inputs.cpu().double(), targets.cpu().double()
    circuit = twin.circuit(chip)
    if chip is not None or why_irreciprocal(circuit, circuit):
        found = implicit_gradients(circuit, cost, inputs, targets)
    else:
        _, gradients = SmallSignal(twin, cost, solver_of(twin)).gradients(inputs, targets)
        found = {name: gradient / twin.parameter_scale for name, gradient in gradients.items()}
    return {
        name: float((found[name].flatten() - gradient.flatten()).abs().max() / gradient.abs().max().clamp(min=1e-300))
        for name, gradient in wanted.items()
    }


def _add(
    sums: dict[str, np.ndarray], judge: ModuleType, circuit: Circuit, sample: np.ndarray, target: Tensor, cost: Cost
) -> None:
    """Add the gradient of one sample's cost."""
    assert circuit.outputs is not None  # the caller's condition
    writer = NetlistWriter(circuit, lambda group: group.rows().values(sample[None])[0].tolist(), _OPTIONS)
    deck = _deck(writer)
    nodes = {node: f"v({circuit.node_names[node]})" for pair in circuit.outputs for node in pair if node != GROUND}
    try:
        found = judge.sensitivity(deck, list(nodes.values()), None)
    except RuntimeError as error:
        raise ConvergenceError(f"{NEOSPICE} must find the operating point, found: {error}") from None
    volts = dict(zip(found.outputs, found.values, strict=True))
    rows = dict(zip(found.outputs, np.asarray(found.jacobian), strict=True))
    positive, negative = ([nodes.get(int(n)) for n in side] for side in circuit.outputs)
    outputs = [volts.get(p, 0.0) - volts.get(n, 0.0) for p, n in zip(positive, negative, strict=True)]
    weights = cost.gradient(torch.tensor(outputs, dtype=torch.float64), target).numpy()
    none = np.zeros(len(found.parameters))
    by_parameter = sum(
        (w * (rows.get(p, none) - rows.get(n, none)) for w, p, n in zip(weights, positive, negative, strict=True)), none
    )
    at = {name: i for i, name in enumerate(found.parameters)}
    for group, name, index in circuit.trained_groups():
        which = [at[f"{writer.element_name(group, i)}:resistance"] for i in range(len(group))]
        # dC/dg = −R² dC/dR
        np.add.at(sums[name], index, -by_parameter[which] / group.siemens**2)


def _deck(writer: NetlistWriter) -> str:
    """The circuit as elements alone, or `CircuitError` where there are others than the judge reads."""
    cards = [line for card in writer.element_cards() for line in card.split("\n") if line and line[0] not in "*+"]
    strange = next((card for card in cards if card[0].lower() not in _LETTERS), None)
    if strange is not None:
        raise CircuitError(
            f"{NEOSPICE} judges circuits of resistors, capacitors, sources and junction diodes, found "
            f"{strange.partition(' ')[0]}, which it would not read as ngspice does; leave the judge out"
        )
    return "\n".join(["* judge", writer.options_card(), *writer.model_cards(), *cards, ".op", ".end"]) + "\n"


def _neospice() -> ModuleType:
    try:
        return importlib.import_module(NEOSPICE)
    except ImportError:
        raise JudgeNotFoundError(
            f"the judge of gradients needs the package {NEOSPICE}, found none; install it (pip install {NEOSPICE}), or "
            f"leave the judge out"
        ) from None
