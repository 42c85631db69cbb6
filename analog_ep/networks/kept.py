"""The circuit that a network made last."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from analog_ep.circuit import Chip, Circuit

_MOST_VALUES = 200_000
"""Parameters up to which a circuit is kept: beyond, memory counts for more than the time to form equations again."""


class KeptCircuit:
    """The same object as long as all that it is made of stays as it is, so that solvers form its equations once.

    A copy of a network keeps a circuit of its own.
    """

    def __init__(self):
        self._made: tuple[dict[str, np.ndarray], tuple[object, ...], Circuit] | None = None
        self._on_chip: tuple[Chip, Circuit] | None = None

    def __deepcopy__(self, memo: object) -> KeptCircuit:
        return KeptCircuit()

    def __reduce__(self):
        return KeptCircuit, ()

    def circuit(
        self,
        values: Mapping[str, np.ndarray],
        make: Callable[[], Circuit],
        chip: Chip | None,
        made_of: tuple[object, ...] = (),
    ) -> Circuit:
        """The circuit, on a chip where there is one.

        Parameters
        ----------
        values : dict of str to ndarray
            What the network has learnt.
        make : callable
            Makes the circuit.
        chip : Chip, optional
            The hardware that is meant.
        made_of : tuple
            What else the circuit is made of; another object makes another circuit.
        """
        nominal = self._nominal(values, make, made_of)
        if chip is None:
            return nominal
        if self._made is None:
            return chip.apply(nominal)
        if self._on_chip is None or self._on_chip[0] is not chip:
            self._on_chip = chip, chip.apply(nominal)
        return self._on_chip[1]

    def _nominal(
        self, values: Mapping[str, np.ndarray], make: Callable[[], Circuit], made_of: tuple[object, ...]
    ) -> Circuit:
        if self._made is not None and self._is_made_of(values, made_of):
            return self._made[2]
        self._made = self._on_chip = None
        circuit = make()
        if sum(value.size for value in values.values()) <= _MOST_VALUES:
            self._made = {name: value.copy() for name, value in values.items()}, made_of, circuit
        return circuit

    def _is_made_of(self, values: Mapping[str, np.ndarray], made_of: tuple[object, ...]) -> bool:
        assert self._made is not None  # the caller's condition
        known, others, _ = self._made
        return (
            known.keys() == values.keys()
            and all(np.array_equal(known[name], value) for name, value in values.items())
            and len(others) == len(made_of)
            and all(other is own for other, own in zip(others, made_of, strict=True))
        )
