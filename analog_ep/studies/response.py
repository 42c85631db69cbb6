"""The gradient of one sample from ngspice's `.ac` alone, judged by implicit differentiation."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.learning.implicit import ImplicitDifferentiation
from analog_ep.learning.ngspice_small_signal import NgspiceSmallSignal
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import Cost


@dataclass(frozen=True)
class SmallSignalGradient:
    """dC/dθ by the response to a vanishing nudge.

    Attributes
    ----------
    cost : float
        C.
    norms : dict of str to float
        Norm of each crossbar's gradient.
    cosines : dict of str to float
        With implicit differentiation.
    """

    cost: float
    norms: dict[str, float]
    cosines: dict[str, float]

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps({"cost": self.cost, "norms": self.norms, "cosines": self.cosines})

    def table(self) -> Table:
        """A row a crossbar."""
        table = Table(
            "crossbar", "norm of dC/dθ", "1 − cosine with implicit differentiation", title=f"C = {self.cost:.4g}"
        )
        for name, norm in self.norms.items():
            table.add_row(name, f"{norm:.4g}", f"{1 - self.cosines[name]:.1e}")
        return table


def small_signal_gradient(
    network: ResistiveNetwork,
    cost: Cost,
    inputs: Tensor,
    targets: Tensor,
    solver: Ngspice | None = None,
    chip: Chip | None = None,
) -> SmallSignalGradient:
    """Compare `NgspiceSmallSignal` with `ImplicitDifferentiation`.

    Parameters
    ----------
    network : ResistiveNetwork
        In float64.
    cost : Cost
        C.
    inputs, targets : Tensor (n_samples, n_inputs), (n_samples, n_outputs)
        Samples; the gradient is that of their mean cost.
    solver : Ngspice, optional
        Tolerances, and whether the netlists are reduced.
    chip : Chip, optional
        Mismatch of the hardware.

    Raises
    ------
    NgspiceError, ConvergenceError
        If there is no solution.
    """
    value, gradients = NgspiceSmallSignal(network, cost, solver, chip).gradients(inputs, targets)
    exact = ImplicitDifferentiation(network.circuit(chip), cost).gradients(inputs, targets)
    return SmallSignalGradient(
        cost=float(value),
        norms={name: float(gradient.norm()) for name, gradient in gradients.items()},
        cosines={
            name: float(torch.nn.functional.cosine_similarity(gradient.flatten(), exact[name].flatten(), dim=0))
            for name, gradient in gradients.items()
        },
    )
