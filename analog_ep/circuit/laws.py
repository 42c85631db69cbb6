"""What every kind of branch says of itself: the law of its current, of its voltage or of its charge.

A solver, an energy, a power or a noise asks the law and never the kind, so that a kind defined elsewhere, a user's own
transistor, is served as the kinds of `analog_ep.circuit.branches` are. There are four laws:

- `CurrentLaw`: the current is a function of voltages (conductances, diodes, current sources, transistors);
- `VoltageLaw`: the voltage is prescribed, the current is whatever Kirchhoff's law makes it (sources, amplifiers);
- `CurrentFollower`: the current is a multiple of that of a voltage source;
- `ChargeLaw`: no current at rest (capacitors).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from analog_ep.devices.content import Content
from analog_ep.devices.forms import Expression, NetlistForm
from analog_ep.devices.library import ClampParameters, LibraryForm
from analog_ep.errors import CircuitError

Indices = Any
"""Node indices, 0 for ground: given as one or a sequence of them, kept as int64 `(n_elements,)`."""

Values = Any
"""Element values: given as one or a sequence of them, kept as float64 `(n_elements,)`."""

NodePair = tuple[np.ndarray, np.ndarray]
"""Nodes between which voltages are taken or currents flow, two arrays int64 `(n_elements,)`."""

NONE = -1
"""Index of an input or node that an element does not have."""

GROUND = 0
"""Index of the ground node, named "0"."""


@dataclass(frozen=True, eq=False)
class Branches(ABC):
    """Elements of one kind that belong together. `label` is unique in a circuit and begins their netlist names.

    A kind derives from one of the four laws; `Branches` alone says nothing that could be solved.

    Raises
    ------
    CircuitError
        If arrays do not fit each other, or the kind has no law.
    """

    label: str

    values: ClassVar[tuple[str, ...]] = ()
    """Fields that hold element values; scalars are spread over the elements."""
    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative")
    """Fields that hold node indices."""
    optional_terminals: ClassVar[tuple[str, ...]] = ()
    """Fields that hold node indices, or `NONE`."""
    law_method: ClassVar[str]
    """The method that says the law; who overrides it says the forms that follow from it anew."""
    is_open_at_rest: ClassVar[bool] = False
    """Whether no current flows at rest: without these elements an operating point is the same."""

    def __post_init__(self):
        if not isinstance(self, (CurrentLaw, VoltageLaw, CurrentFollower, ChargeLaw)):
            raise CircuitError(
                f"{self.label}: a kind of branches must have a law, found none in {type(self).__name__}; derive it "
                f"from CurrentLaw, VoltageLaw, CurrentFollower or ChargeLaw"
            )
        sizes = {name: np.atleast_1d(getattr(self, name)).shape for name in self.terminals}
        n_elements = max((shape[0] for shape in sizes.values()), default=0)
        for name in (*self.terminals, *self.optional_terminals):
            self._set(name, np.atleast_1d(getattr(self, name)), np.int64, n_elements)
        for name in self.values:
            self._set(name, np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)), np.float64, n_elements)

    def _set(self, name: str, array: np.ndarray, dtype: type, n_elements: int) -> None:
        if array.shape not in ((n_elements,), (1,)):
            raise CircuitError(
                f"{self.label}: {name} must be one value or {n_elements} of them, found an array of shape {array.shape}"
            )
        spread = np.ascontiguousarray(np.broadcast_to(array.astype(dtype), (n_elements,)))
        spread.flags.writeable = False
        object.__setattr__(self, name, spread)

    def __len__(self) -> int:
        return len(getattr(self, self.terminals[0]))

    def nodes(self) -> np.ndarray:
        """All node indices that the elements touch, those of one terminal after those of another."""
        optional = [nodes[nodes >= 0] for name in self.optional_terminals if (nodes := getattr(self, name)) is not None]
        return np.concatenate([*(getattr(self, name) for name in self.terminals), *optional])

    def ends(self) -> NodePair:
        """The nodes between which the current of each element flows, from the first to the second."""
        first, second = self.terminals[:2]
        return getattr(self, first), getattr(self, second)

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array field by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)}

    def positive_values(self) -> tuple[str, ...]:
        """Fields whose values must be positive."""
        return ()

    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self | None:
        """These elements at a temperature and a corner of the process; None where they do not tell how they change.

        Parameters
        ----------
        kelvin : float
            [K]
        conductance_scale, saturation_scale : float
            Factors on conductances, and on saturation currents of junctions.
        """
        return None

    def followed(self) -> tuple[str, np.ndarray] | None:
        """Label and elements of the voltage sources whose currents control these; None where none do."""
        return None

    @property
    def law_type(self) -> type:
        """The class whose law it is."""
        return type(self)

    def rows(self) -> VoltageRows | None:
        """What voltages are prescribed; None where none are."""
        return None

    def resistors(self) -> np.ndarray | None:
        """Conductances `(n_elements,)` where each current is one times the element's own voltage; else None. [S]"""
        return None

    def netlist_form(self) -> NetlistForm | None:
        """How the elements stand in a netlist; None where no form does."""
        return None

    def library_form(self) -> LibraryForm | None:
        """The elements as instances of subcircuits in ``netlists/``; None where there are none."""
        return None

    def clamp_parameters(self, kelvin: float) -> ClampParameters | None:
        """What the library's clamps take for these elements in a circuit at `kelvin`; None where they cannot be."""
        return None


class CurrentLaw(Branches):
    r"""The current of each element, from its first terminal to its second, is a function of voltages.

    .. math:: i = f(u_1, u_2, \dots), \qquad u_k = v(\text{first}_k) - v(\text{second}_k)

    A kind gives `current` and `slopes`; `controls` where other voltages than the one across it count. A law without
    `cocontent` has no energy, and says so: circuits with it are solved and differentiated, and refuse an energy. The
    slopes are compared with differences of the currents when a kind is first solved.
    """

    law_method: ClassVar[str] = "current"
    linear: ClassVar[bool] = False
    """Whether the current is a sum of constant slopes times the controls, and a constant."""

    has_own_supply: ClassVar[bool] = False
    """Whether its power comes from a supply that is no part of the circuit, as a controlled source's does."""

    def controls(self) -> Sequence[NodePair]:
        """The node pairs whose voltages u_k count; by default the element's own ends. Empty for a constant current."""
        return (self.ends(),)

    @abstractmethod
    def current(self, *volts: np.ndarray) -> np.ndarray:
        """Currents `(*batch, n_elements)` [A] at voltages of the controls, each `(*batch, n_elements)` [V]."""

    @abstractmethod
    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, ...]:
        """Derivatives of `current` by each control, `(*batch, n_elements)` or `(n_elements,)` [S]; to the right at a
        kink.
        """

    def cocontent(self, *volts: np.ndarray) -> np.ndarray | None:
        """Integral of the current from 0 to the voltage across, `(*batch, n_elements)` [W]; None where there is none.

        Only a current of the element's own voltage alone has one.
        """
        return None

    @property
    def is_two_terminal(self) -> bool:
        """Whether the current is one of the element's own voltage alone."""
        pairs = [(*control, *self.ends()) for control in self.controls()]
        return len(pairs) == 1 and all(
            np.array_equal(p, own_p) and np.array_equal(n, own_n) for p, n, own_p, own_n in pairs
        )

    @property
    def has_cocontent(self) -> bool:
        """Whether `cocontent` gives numbers."""
        return type(self).cocontent is not CurrentLaw.cocontent

    def resistors(self) -> np.ndarray | None:
        rest = np.zeros(len(self))
        if not self.linear or not self.is_two_terminal or np.any(self.current(rest)):
            return None
        return np.broadcast_to(self.slopes(rest)[0], (len(self),))

    def expressions(self, *volts: Sequence[str]) -> Sequence[str] | None:
        """Current of each element as an expression for netlists; None where there is none.

        Parameters
        ----------
        volts : sequence of str
            For each control the texts of its voltages, an element each.

        Returns
        -------
        sequence of str or None
            In the words that all simulators share: numbers as `repr` gives them, ``+ - * /``, brackets, and the
            functions exp, sqrt, abs, min, max, sin, cos, tanh. Powers are products, since ``**`` takes the magnitude of
            its base in ngspice and not elsewhere; the logarithm's name has another base in each. [A]
        """
        return None

    def netlist_form(self) -> NetlistForm | None:
        """By default the `expressions`; a kind may give another form, see `analog_ep.devices.forms`."""
        return Expression(self.expressions)

    def content(self, kelvin: float) -> Content | str:
        """Current and co-content as functions for ngspice's energy, or why there are none.

        Parameters
        ----------
        kelvin : float
            Temperature of the circuit; elements at another one do not follow the simulation's. [K]
        """
        return "has no expression for its co-content"

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray | None:
        """White noise of each current, two-sided, `(*batch, n_elements)` [A²/Hz]; None where it is not known.

        Parameters
        ----------
        kelvin : float
            Temperature of elements that have none of their own. [K]
        volts : ndarray (*batch, n_elements)
            Voltages of the controls. [V]
        """
        return None

    def noise_in_spice(self, *volts: np.ndarray) -> np.ndarray:
        """The part of `noise_density` that ngspice's ``.noise`` has: none of an expression. [A²/Hz]"""
        return np.zeros(len(self))

    def is_monotone(self) -> bool:
        """Whether no element's current falls while its own voltage rises: with co-contents, whether E is convex."""
        return False

    def conducts(self) -> np.ndarray:
        """Elements that leave a resistive path between their ends whatever the voltages, bool `(n_elements,)`."""
        return np.zeros(len(self), dtype=bool)

    def growth_voltages(self) -> tuple[np.ndarray, ...] | None:
        """Rise of each control that multiplies a current by e where it grows exponentially [V].

        Infinite where slopes are bounded; None where all are. Newton's method limits steps by it.
        """
        return None


class VoltageLaw(Branches):
    """The voltage of each element is prescribed; its current follows from Kirchhoff's law at its ends."""

    law_method: ClassVar[str] = "rows"

    @abstractmethod
    def rows(self) -> VoltageRows:
        """What is prescribed."""


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
    def is_one_way(self) -> bool:
        """Whether the rows are controlled and give nothing back: then there is no energy."""
        return self.resistance is not None or (self.gain is not None and self.feedback is None)

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


@dataclass(frozen=True, eq=False)
class CurrentFollower(Branches):
    """The current, from the positive node to the negative one, is gain times that of a voltage source."""

    positive: Indices
    negative: Indices
    control_label: str
    control: Indices
    gain: Values

    law_method: ClassVar[str] = "followed"
    values: ClassVar[tuple[str, ...]] = ("gain",)

    def __post_init__(self):
        super().__post_init__()
        self._set("control", np.atleast_1d(self.control), np.int64, len(self))

    def followed(self) -> tuple[str, np.ndarray]:
        return self.control_label, self.control


class ChargeLaw(Branches):
    """No current at rest: the charge of each element is its capacitance times the voltage across it."""

    law_method: ClassVar[str] = "capacitances"
    is_open_at_rest: ClassVar[bool] = True

    @abstractmethod
    def capacitances(self) -> np.ndarray:
        """Capacitance of each element, `(n_elements,)`. [F]"""
