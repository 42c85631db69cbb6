"""The gradient of one sample from ngspice's `.ac` alone, judged by implicit differentiation."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.circuit.energy import why_irreciprocal
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.learning.gradients.branch_gradient import Likeness, likeness, likenesses
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.gradients.ngspice_small_signal import NgspiceSmallSignal
from analog_ep.networks import ConductanceNetwork
from analog_ep.stimulus import Cost
from analog_ep.support.shown import Tabled

RATIO = 1e-5
"""Largest distance from 1 of the ratio of the norms of two gradients in the limit of small nudges."""


@dataclass(frozen=True)
class SmallSignalGradient(Tabled):
    """dC/dθ by the response to a vanishing nudge.

    Attributes
    ----------
    cost : float
        C.
    norms : dict of str to float
        Norm of each crossbar's gradient.
    exact : Likeness
        Of the whole gradient and that of implicit differentiation.
    irreciprocity : str
        Why the circuit has no energy of the weights that the gradient uses, so that it is not the cost's; else empty.
    cosines : dict of str to float
        With implicit differentiation.
    norm_ratios : dict of str to float
        Norm over that of implicit differentiation.
    """

    cost: float
    norms: dict[str, float]
    cosines: dict[str, float]
    norm_ratios: dict[str, float]
    exact: Likeness
    irreciprocity: str

    @property
    def reciprocal(self) -> bool:
        """Whether the circuit has the energy whose weights the gradient uses."""
        return not self.irreciprocity

    @property
    def passed(self) -> bool:
        """Whether direction and size are those of implicit differentiation, to 1e-4 and `RATIO`."""
        ratios = self.norm_ratios.values()
        return min(self.cosines.values()) >= 0.9999 and max(abs(ratio - 1) for ratio in ratios) <= RATIO

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "cost": self.cost,
                "norms": self.norms,
                "cosines": self.cosines,
                "norm_ratios": self.norm_ratios,
                "gradient_cosine_exact": self.exact.cosine,
                "gradient_norm_ratio_exact": self.exact.ratio,
                "reciprocal": self.reciprocal,
                "irreciprocity": self.irreciprocity,
                "passed": self.passed,
            }
        )

    def table(self) -> Table:
        """A row a crossbar."""
        verdict = "agrees" if self.passed else "DOES NOT AGREE"
        if self.irreciprocity:
            verdict += f" (no energy: {self.irreciprocity})"
        title = f"C = {self.cost:.4g}; {verdict} with implicit differentiation (1e-4; ratio of norms 1 ± {RATIO:.0e})"
        table = Table("crossbar", "norm of dC/dθ", "1 − cosine", "ratio of norms − 1", title=title)
        for name, norm in self.norms.items():
            table.add_row(name, f"{norm:.4g}", f"{1 - self.cosines[name]:.1e}", f"{self.norm_ratios[name] - 1:.1e}")
        return table


def small_signal_gradient(
    network: ConductanceNetwork,
    cost: Cost,
    inputs: Tensor,
    targets: Tensor,
    solver: Ngspice | None = None,
    chip: Chip | None = None,
) -> SmallSignalGradient:
    """Compare `NgspiceSmallSignal` with `ImplicitDifferentiation`.

    Parameters
    ----------
    network : ConductanceNetwork
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
    value, gradients = NgspiceSmallSignal(network.as_measured(), cost, solver, chip).gradients(inputs, targets)
    circuit = network.circuit(chip)
    exact = implicit_gradients(circuit, cost, inputs, targets)
    found = {name: gradient / network.parameter_scale for name, gradient in gradients.items()}
    alike = likenesses(found, exact)
    return SmallSignalGradient(
        cost=float(value),
        norms={name: float(gradient.norm()) for name, gradient in gradients.items()},
        cosines={name: each.cosine for name, each in alike.items()},
        norm_ratios={name: each.ratio for name, each in alike.items()},
        exact=likeness(found, exact),
        irreciprocity=why_irreciprocal(circuit, network.circuit()),
    )
