"""States that every training sample keeps from one epoch to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.errors import CheckpointError
from analog_ep.learning.gradients.method import PhaseMethod
from analog_ep.networks.needs import units_of


class PersistentStates:
    """Free phases that begin where the sample's last free phase ended, as in the paper [1]_.

    Few steps then suffice, since the weights have changed little in between.

    Parameters
    ----------
    method : PhaseMethod
        On a `HopfieldNetwork`.
    n_samples : int
        Of the training part. All units of all samples are kept.

    Attributes
    ----------
    layers : list of Tensor (n_samples, n_units)
        The states; at rest in the beginning.

    Raises
    ------
    StimulusError
        If the method's network is another.

    References
    ----------
    .. [1] B. Scellier and Y. Bengio, "Equilibrium Propagation," Front. Comput. Neurosci. 11:24, 2017,
       arXiv:1602.05179, section on the implementation of the model.
    """

    def __init__(self, method: PhaseMethod, n_samples: int):
        need, advice = "persistent states need a HopfieldNetwork", "every other free phase begins anew"
        self._method, self._network = method, units_of(method.network, need, advice)
        self.layers = list(self._network.rest(self._network.weights[0].new_empty(n_samples, 0)))

    def backward(self, index: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """As `GradientMethod.backward`, for the samples `index`, whose free states are then kept."""
        solver = self._method.solver
        free = solve(self._network, inputs, solver=solver, start=self._start(index, inputs))
        for kept, found in zip(self.layers, free.layers, strict=True):
            kept[index] = found
        return self._method.backward(inputs, targets, free)

    def _start(self, index: Tensor, inputs: Tensor) -> Equilibrium:
        layers = tuple(kept[index] for kept in self.layers)
        n = len(index)
        return Equilibrium(
            system=self._network,
            inputs=inputs,
            layers=layers,
            outputs=layers[-1],
            converged=torch.zeros(n, dtype=torch.bool, device=inputs.device),
            residual=torch.full((n,), torch.inf, device=inputs.device),
            iterations=0,
            message="where the last epoch left it",
        )

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {str(number): kept for number, kept in enumerate(self.layers)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave.

        Raises
        ------
        CheckpointError
            If it is of other layers or another number of samples; nothing is restored then.
        """
        wanted = {name: tuple(kept.shape) for name, kept in self.state().items()}
        found = {name: tuple(kept.shape) for name, kept in state.items()}
        if found != wanted:
            raise CheckpointError(f"the checkpoint must hold states of shapes {wanted}, found {found}")
        for name, kept in self.state().items():
            kept.copy_(state[name])
