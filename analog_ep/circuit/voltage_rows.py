"""Voltages that a group of elements prescribes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analog_ep.circuit.nodes import GROUND, NONE, NodePair
from analog_ep.errors import CircuitError


@dataclass(frozen=True, eq=False)
class VoltageRows:
    r"""Voltages that a group prescribes, one row for each current that Kirchhoff's law has to give.

    .. math:: v_p - v_n = \text{volts} + \text{scale} \cdot x_\text{input} + \text{gain} (v_{cp} - v_{cn})
              + \text{resistance} \cdot c_\text{followed}

    The current c of a row flows from the positive node through the branch to the negative one. Where `drawn_from` is
    given, the branch also draws −feedback · c out of that node: what an amplifier asks of its input.

    Attributes
    ----------
    positive, negative : ndarray (n_rows,)
        Nodes.
    volts : ndarray (n_rows,)
        Constant part. [V]
    input, scale : ndarray (n_rows,)
        Input of the circuit that adds to it, `NONE` for none, and its factor.
    gain : ndarray (n_rows,), optional
        Of the voltage between `control`, a pair of nodes.
    resistance : ndarray (n_rows,), optional
        Of the current of the element that `Branches.followed` names. [Ω]
    feedback : ndarray (n_rows,), optional
        Drawn from the nodes `drawn_from`, times the current that leaves the positive node.
    inductive : bool
        Whether the voltages are those at rest, of elements whose current stores energy.
    chained : bool
        Whether a row with one end at ground is eliminated, its control's voltage put in its place: then rows must not
        control each other in a ring.
    """

    positive: np.ndarray
    negative: np.ndarray
    volts: np.ndarray
    input: np.ndarray
    scale: np.ndarray
    control: NodePair | None = None
    gain: np.ndarray | None = None
    resistance: np.ndarray | None = None
    drawn_from: np.ndarray | None = None
    feedback: np.ndarray | None = None
    chained: bool = False
    inductive: bool = False

    @classmethod
    def between(cls, positive: np.ndarray, negative: np.ndarray, **others: Any) -> VoltageRows:
        """Rows without a source of their own, unless `others` give one."""
        source = {
            "volts": np.zeros(len(positive)),
            "input": np.full(len(positive), NONE),
            "scale": np.ones(len(positive)),
        }
        return cls(positive, negative, **(source | others))

    def __len__(self) -> int:
        return len(self.positive)

    @property
    def is_independent(self) -> bool:
        """Whether no voltage and no current of the circuit controls the rows."""
        return self.gain is None and self.resistance is None

    @property
    def is_source(self) -> bool:
        """Whether they are independent sources: those of inductors, at rest, are not."""
        return self.is_independent and not self.inductive

    @property
    def is_one_way(self) -> bool:
        """Whether the rows are controlled and give nothing back: then there is no energy."""
        return self.resistance is not None or (self.gain is not None and self.feedback is None)

    def require_amplifiers(self, label: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, nodes that are drawn from, gains and feedbacks of rows that are amplifiers' outputs.

        Raises
        ------
        CircuitError
            If a row is something else as well: between two nodes, with a differential or another input, or driven.
        """
        drawn, feedback, gain, control = self.drawn_from, self.feedback, self.gain, self.control
        if drawn is None or feedback is None or gain is None or control is None:
            raise CircuitError(f"{label}: an amplifier's rows must have control, gain, drawn_from and feedback")
        plain = (self.negative == GROUND) & (control[1] == GROUND) & (self.input == NONE)
        if self.resistance is not None or not plain.all():
            raise CircuitError(
                f"{label}: an amplifier with a bandwidth must hold nodes against ground, as one node's voltage asks; "
                "found rows that do otherwise; build it from elements of its own"
            )
        return control[0], drawn, gain, feedback

    def values(self, inputs: np.ndarray) -> np.ndarray:
        """Voltages `(*batch, n_rows)` of independent rows for inputs `(*batch, n_inputs)`. [V]"""
        driven = np.where(self.input >= 0, self.scale, 0.0)
        if not driven.any():
            return np.broadcast_to(self.volts, (*inputs.shape[:-1], len(self)))
        return self.volts + driven * inputs[..., np.maximum(self.input, 0)]

    @property
    def grounded(self) -> np.ndarray:
        """Rows with one end at ground, bool `(n_rows,)`."""
        return (self.positive == GROUND) | (self.negative == GROUND)
