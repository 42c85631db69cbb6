"""The gradient of equilibrium propagation in the limit β → 0, from ngspice alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.learning.measured import driven
from analog_ep.learning.propagation import GradientMethod
from analog_ep.networks import ResistiveNetwork
from analog_ep.spice.small_signal import small_signal_response
from analog_ep.stimulus import Cost


class NgspiceSmallSignal(GradientMethod):
    """Equilibrium propagation with vanishing nudges in ngspice: a sweep of free states, then one ``.ac`` a sample.

    The same gradient as `SmallSignal` finds in PyTorch, with no equation of PyTorch's: free voltages and responses are
    ngspice's own.

    Parameters
    ----------
    network : ResistiveNetwork
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
        network: ResistiveNetwork,
        cost: Cost | None = None,
        solver: Ngspice | None = None,
        chip: Chip | None = None,
    ):
        super().__init__(network, cost)
        self.network: ResistiveNetwork = network
        self.solver = Ngspice() if solver is None else solver
        self.chip = chip

    def gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        network = self.network
        inputs = driven(inputs, self.chip)
        free = solve(network, inputs, solver=self.solver, chip=self.chip)
        targets = targets.to(free.outputs)
        error = -self.cost.gradient(free.outputs, targets)
        response = network.layers_of(self._response(inputs, error).to(free.outputs))
        contrast = network.contrast(inputs.to(free.outputs), free.layers, response, linear=True)
        scale = network.reference_conductance / max(inputs.shape[:-1].numel(), 1)
        gradients = {name: (scale * value).to(network.get_parameter(name)) for name, value in contrast.items()}
        return self.cost.value(free.outputs, targets).mean(), gradients

    def _response(self, inputs: Tensor, currents: Tensor) -> Tensor:
        """Response of all nodes, `(*batch, n_nodes)`."""
        circuit = self.network.circuit(self.chip)
        flat, injected = (np.asarray(_flat(values)) for values in (inputs, currents))
        response = small_signal_response(
            circuit,
            flat,
            injected,
            options=self.solver.options,
            reduced=self.solver.reduced,
            executable=self.solver.executable,
            timeout=self.solver.timeout,
            processes=self.solver.processes,
        )
        return torch.from_numpy(response).reshape(*inputs.shape[:-1], circuit.n_nodes)


def _flat(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float64).reshape(-1, values.shape[-1])
