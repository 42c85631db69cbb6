"""The circuit that a network made last."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from analog_ep.circuit import Chip, Circuit

_MOST_VALUES = 200_000
"""Parameters up to which a circuit is kept: beyond, memory counts for more than the time to form equations again."""

_Made = tuple[dict[str, np.ndarray], tuple[object, ...], Circuit]
"""What was learnt, what else it is made of, and the circuit."""


class KeptCircuit:
    """The same object as long as all that it is made of stays as it is, so that solvers form its equations once.

    A copy of a network keeps a circuit of its own.
    """

    def __init__(self):
        self._made: _Made | None = None
        self._on_chip: tuple[Circuit, Chip, Circuit] | None = None

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
        # What is kept is read and written at once each: two threads may ask, and one forms equations for nothing.
        made = self._made
        if made is not None and self._is_made_of(made, values, made_of):
            nominal = made[2]
        else:
            nominal = make()
            few = sum(value.size for value in values.values()) <= _MOST_VALUES
            self._made = ({name: value.copy() for name, value in values.items()}, made_of, nominal) if few else None
        if chip is None:
            return nominal
        on_chip = self._on_chip
        if on_chip is None or on_chip[0] is not nominal or on_chip[1] is not chip:
            on_chip = nominal, chip, chip.apply(nominal)
            self._on_chip = on_chip if self._made is not None else None
        return on_chip[2]

    @staticmethod
    def _is_made_of(made: _Made, values: Mapping[str, np.ndarray], made_of: tuple[object, ...]) -> bool:
        known, others, _ = made
        return (
            known.keys() == values.keys()
            and all(np.array_equal(known[name], value) for name, value in values.items())
            and len(others) == len(made_of)
            and all(other is own for other, own in zip(others, made_of, strict=True))
        )
