"""What a network that learns by itself came to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from analog_ep.networks import ConductanceNetwork


@dataclass(frozen=True, eq=False)
class Learnt:
    """What came of a lesson.

    Attributes
    ----------
    costs, right : ndarray (n_epochs,)
        Mean cost, and share of right answers, of the free phases of every epoch.
    outputs : ndarray (n_examined, n_outputs)
        Of the samples that are examined, after learning. [V]
    weights : dict of str to ndarray
        The charges w by parameter, at the parameter's flat index. [V]
    """

    costs: np.ndarray
    right: np.ndarray
    outputs: np.ndarray
    weights: dict[str, np.ndarray]

    def set(self, network: ConductanceNetwork) -> None:
        """Give a network the conductances that the charges stand for."""
        found = {}
        for name, siemens in network.conductances.items():
            low, high = network.range_of(name)
            found[name] = torch.from_numpy(low + (high - low) * self.weights[name].clip(0, 1)).reshape(siemens.shape)
        network.set_conductances({name: value.to(network.conductances[name]) for name, value in found.items()})
