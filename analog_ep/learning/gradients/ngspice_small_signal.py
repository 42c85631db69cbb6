"""The gradient of equilibrium propagation in the limit β → 0, from ngspice alone."""

from __future__ import annotations

from analog_ep.circuit import Chip
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.learning.gradients.propagation import SmallSignal
from analog_ep.networks import HardwareNetwork
from analog_ep.stimulus import Cost


class NgspiceSmallSignal(SmallSignal):
    """`SmallSignal` in ngspice: a sweep of free states, then one ``.ac`` a sample.

    No equation of PyTorch's has a part in it: free voltages and responses are ngspice's own.

    Parameters
    ----------
    network : HardwareNetwork
        What to train.
    cost : Cost, optional
        C; by default `SquaredError`.
    solver : Ngspice, optional
        Tolerances, processes, and whether the netlists are reduced.
    chip : Chip, optional
        Mismatch of the hardware that is trained.
    """

    def __init__(
        self,
        network: HardwareNetwork,
        cost: Cost | None = None,
        solver: Ngspice | None = None,
        chip: Chip | None = None,
    ):
        super().__init__(network, cost, Ngspice() if solver is None else solver, chip)
