"""What stands between a chip's contrast and its update: comparators, and what they add of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit.circuit import Circuit
from analog_ep.circuit.drawing import require_spread, stream
from analog_ep.circuit.places import n_places
from analog_ep.errors import CircuitError


@dataclass(frozen=True, eq=False)
class LearningCircuit:
    """The circuit beside each cell that compares the two phases' squared voltages.

    It sees c + b: the contrast c of its branch, averaged over the samples of a step, and a bias b of its own (the
    learning bias of real boards, arXiv:2505.22887). With comparators only the sign of the sum comes out.

    Attributes
    ----------
    bias : dict of str to ndarray
        b by the name of the parameter, one an element, at the parameter's flat index; referred to
        ½ [(v_later)² − (v_earlier)²] of the two phases that are compared. [V²]
    comparator : bool
        Whether only the sign comes out.
    """

    bias: Mapping[str, np.ndarray] = field(default_factory=dict)
    comparator: bool = False

    @classmethod
    def draw(
        cls, circuit: Circuit, seed: int, spread: float, mean: float = 0.0, comparator: bool = False
    ) -> LearningCircuit:
        """Gaussian biases for every trainable conductance of a circuit.

        Parameters
        ----------
        circuit : Circuit
            The nominal circuit.
        seed : int
            Each parameter has a stream of its own.
        spread, mean : float
            Standard deviation over the elements, and mean, of b. [V²]
        comparator : bool
            Whether only the sign comes out.

        Raises
        ------
        CircuitError
            If the spread is negative, or a value is not finite.
        """
        require_spread("learning bias", spread)
        if not np.isfinite(mean):
            raise CircuitError(f"the mean learning bias must be finite, found {mean}")
        sizes = _sizes(circuit)
        return cls(
            {name: mean + spread * stream(seed, f"{name}.bias").standard_normal(n) for name, n in sizes.items()},
            comparator,
        )

    def bias_of(self, parameter: str, like: Tensor) -> Tensor | float:
        """B of one parameter's elements in the shape, dtype and on the device of `like`. [V²]"""
        bias = self.bias.get(parameter)
        return 0.0 if bias is None else torch.from_numpy(bias).reshape(like.shape).to(like)

    def check(self, circuit: Circuit) -> None:
        """Raise `CircuitError` if it was drawn for another circuit."""
        sizes = _sizes(circuit)
        for name, bias in self.bias.items():
            if bias.shape != (sizes.get(name, 0),):
                raise CircuitError(
                    f"this chip has learning biases of {len(bias)} cells in {name}, the circuit {sizes.get(name, 0)}; "
                    "draw it for this circuit"
                )

    def packed(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays, and facts as JSON holds them, from which `unpacked` makes it again."""
        return dict(self.bias), {"comparator": self.comparator}

    @classmethod
    def unpacked(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> LearningCircuit:
        """What `packed` gave."""
        return cls(arrays, **facts)


def _sizes(circuit: Circuit) -> dict[str, int]:
    """Elements of every parameter."""
    sizes: dict[str, int] = {}
    for group, name, _ in circuit.trained_groups():
        sizes[name] = max(n_places(group), sizes.get(name, 0))
    return sizes
