"""Learning from a phase whose outputs are held: coupled learning, and contrastive Hebbian learning."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.circuit.reading import driven
from analog_ep.equilibrium.equilibrium import Solver, clamped_response, solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.learning.gradients.method import GradientMethod, positive_nudging
from analog_ep.networks import Network
from analog_ep.stimulus import Cost, as_number


class HeldOutputs(GradientMethod):
    """A free phase, and one whose outputs are held part of the way to their targets.

    The contrast of the two phases is divided by the part, `amplitude`, and by the physical value that a parameter of 1
    stands for.
    """

    def __init__(
        self,
        network: Network,
        amplitude: float,
        cost: Cost | None = None,
        solver: Solver | None = None,
        chip: Chip | None = None,
    ):
        super().__init__(network, cost)
        if not 0 < as_number("the amplitude of held outputs", amplitude) <= 1:
            raise StimulusError(f"the amplitude of held outputs must be in (0, 1], found {amplitude}")
        if not self.cost.quadratic:
            found = type(self.cost).__name__
            raise StimulusError(
                f"held outputs need targets of their own kind, found the cost {found}; use SquaredError"
            )
        self.amplitude = positive_nudging(network, amplitude)
        self.solver = solver_of(network) if solver is None else solver
        self.chip = chip

    @torch.no_grad()
    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = driven(inputs, self.chip)
        free = solve(self.network, inputs, solver=self.solver, chip=self.chip)
        targets = targets.to(free.outputs)
        change = self.amplitude * (targets - free.outputs)
        response = clamped_response(free, change, solver=self.solver)
        contrast = self.network.contrast(inputs.to(free.outputs), free.layers, response)
        weight = 1 / (self.amplitude * max(inputs.shape[:-1].numel(), 1))
        gradients = {name: value.mul_(weight).to(self.network.get_parameter(name)) for name, value in contrast.items()}
        return self.cost.value(free.outputs, targets).mean(), gradients


class CoupledLearning(HeldOutputs):
    r"""Coupled learning (Stern et al. 2021): the outputs are held at :math:`o^C = o^F + η (y - o^F)`.

    With v the voltage across a conductance of stage s, free (F) and clamped (C), and P the network's energy over the
    output stage's weight,

    .. math:: \frac{∂}{∂g} \frac{P^C - P^F}{η} = \frac{w_s}{w_L} \frac{1}{η} \frac{(v^C)^2 - (v^F)^2}{2},

    which `gradients` gives by θ = g/g_ref and in units of g_ref, so [V²] as for a squared error. It is no gradient of
    the squared error: as η → 0 it tends to :math:`(o - y)^T Z^{-1} \, do/dg`, Z the differential output-impedance
    matrix, so the errors are weighed by the conductance that the network shows at its outputs. It vanishes where the
    outputs are right. A Hopfield network learns alike, from the contrast of its rates.

    Parameters
    ----------
    network : Network
        What to train.
    amplitude : float
        η, 0 < η ≤ 1; 1 holds the outputs at their targets.
    cost : SquaredError, optional
        Gives the targets of labels, and the cost that is reported.
    solver : Solver, optional
        By default that of the kind of network, `solver_of`; `Newton` and `Ngspice` solve the circuit with sources
        across its outputs.
    chip : Chip, optional
        Mismatch of the hardware that is trained.

    Raises
    ------
    StimulusError
        If the amplitude is outside its range, or the cost is not a squared error: targets must be outputs.
    ConvergenceError
        On `gradients`, if an equilibrium was not reached.

    References
    ----------
    .. [1] M. Stern, D. Hexner, J. W. Rocks and A. J. Liu, "Supervised Learning in Physical Networks: From Machine
       Learning to Learning Machines," Phys. Rev. X 11, 021045, 2021, doi:10.1103/PhysRevX.11.021045.
    """

    def __init__(
        self,
        network: Network,
        amplitude: float = 0.1,
        cost: Cost | None = None,
        solver: Solver | None = None,
        chip: Chip | None = None,
    ):
        super().__init__(network, amplitude, cost, solver, chip)


class ContrastiveHebbian(HeldOutputs):
    r"""Contrastive Hebbian learning (Movellan 1991): the outputs are held at their targets.

    With ρ the rates of two units of a Hopfield network, free (F) and clamped (C), the gradient by the weight that joins
    them is taken to be

    .. math:: -\left[ ρ(u_i^C) ρ(u_j^C) - ρ(u_i^F) ρ(u_j^F) \right],

    that of the energy difference :math:`E^C - E^F`, which is no cost of the outputs alone: the two phases may lie in
    different basins. In a resistive network it is `CoupledLearning` with an amplitude of 1.

    Parameters
    ----------
    network : Network
        What to train.
    cost : SquaredError, optional
        Gives the targets of labels, and the cost that is reported.
    solver : Solver, optional
        By default that of the kind of network, `solver_of`.
    chip : Chip, optional
        Mismatch of the hardware that is trained.

    Raises
    ------
    StimulusError
        If the cost is not a squared error.
    ConvergenceError
        On `gradients`, if an equilibrium was not reached.

    References
    ----------
    .. [1] J. R. Movellan, "Contrastive Hebbian learning in the continuous Hopfield model," Connectionist Models, Proc.
       1990 Summer School, 1991.
    .. [2] X. Xie and H. S. Seung, "Equivalence of backpropagation and contrastive Hebbian learning in a layered
       network," Neural Comput. 15(2), 2003, doi:10.1162/089976603762552988.
    """

    def __init__(
        self,
        network: Network,
        cost: Cost | None = None,
        solver: Solver | None = None,
        chip: Chip | None = None,
    ):
        super().__init__(network, 1.0, cost, solver, chip)
