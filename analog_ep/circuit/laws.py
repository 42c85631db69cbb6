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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np

from analog_ep.circuit.adjoint_elements import AdjointElements
from analog_ep.circuit.arguments import as_nodes, as_values, indexed
from analog_ep.circuit.known_within import KnownWithin
from analog_ep.circuit.nodes import NodePair
from analog_ep.circuit.voltage_rows import VoltageRows
from analog_ep.devices.content import Content
from analog_ep.devices.forms import Expression, NetlistForm
from analog_ep.devices.library import ClampParameters, LibraryForm
from analog_ep.errors import CircuitError, NetlistError

ONE_WAY = "is a one-way controlled source"


@dataclass(frozen=True, eq=False)
class Branches(KnownWithin, ABC):
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
    has_law: ClassVar[bool] = False
    """Whether it is said what the elements do, as each of the four laws says."""
    law_method: ClassVar[str]
    """The method that says the law; who overrides it says the forms that follow from it anew."""
    is_open_at_rest: ClassVar[bool] = False
    """Whether no current flows at rest: without these elements an operating point is the same."""

    def __post_init__(self):
        if not self.has_law:
            raise CircuitError(
                f"{self.label}: a kind of branches must have a law, found none in {type(self).__name__}; derive it "
                f"from CurrentLaw, VoltageLaw, CurrentFollower or ChargeLaw"
            )
        nodes = {name: as_nodes(getattr(self, name)) for name in (*self.terminals, *self.optional_terminals)}
        n_elements = max((len(nodes[name]) for name in self.terminals), default=0)
        for name, array in nodes.items():
            self._set(name, array, array.dtype.type, n_elements)
        for name in self.values:
            self._set(name, self._read(name), np.float64, n_elements)

    def _read(self, name: str) -> np.ndarray:
        try:
            return as_values(getattr(self, name))
        except NetlistError as error:
            raise CircuitError(f"{self.label}: {name}: {error}") from None

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

    def names_nodes(self) -> bool:
        """Whether a node is given by its name, which only `CircuitBuilder` can find."""
        return any(getattr(self, name).dtype == object for name in (*self.terminals, *self.optional_terminals))

    def at_nodes(self, indices: Mapping[str, int]) -> Self:
        """The same elements with nodes by index in place of names.

        Raises
        ------
        CircuitError
            If no node has such a name.
        """
        found = {}
        for name in (*self.terminals, *self.optional_terminals):
            nodes = getattr(self, name)
            if nodes.dtype == object:
                found[name] = indexed(self.label, nodes, indices)
        return replace(self, **found) if found else self

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

    def select(self, index: np.ndarray) -> Self:
        """The group of the elements at `index`, which may name one several times."""
        own = {name: array[index] for name, array in self.arrays().items() if array.shape == (len(self),)}
        return replace(self, **own)

    def parameters(self) -> dict[str, np.ndarray]:
        """What one chip may have otherwise than another, by name, each `(n_elements,)`."""
        return {name: getattr(self, name) for name in self.values}

    def with_parameters(self, values: Mapping[str, np.ndarray]) -> Self:
        """The same elements with other `parameters`, each `(n_elements,)`."""
        return replace(self, **values)

    def tuned(self, values: Mapping[str, np.ndarray]) -> Self:
        """The same elements with what they have learnt, by the name of the parameter, each a flat array."""
        return self

    def spread_names(self) -> dict[str, str]:
        """Names of the `parameters` by those of their spreads, see `Chip.draw`."""
        return {name: name for name in self.parameters()}

    def places(self) -> np.ndarray:
        """Place of each element in arrays with one value an element: its number, or its index into a parameter."""
        return np.arange(len(self))

    def own_temperatures(self) -> np.ndarray:
        """Temperatures of elements that have one of their own, in any order. [K]"""
        return np.zeros(0)

    def positive_values(self) -> tuple[str, ...]:
        """Fields whose values must be positive."""
        return ()

    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self | None:
        """These elements at a temperature and a corner of the process; None where they do not tell how they change.

        `kelvin` is in [K], the scales are factors on conductances and on saturation currents of junctions.
        """
        return None

    def with_resistances(self, cells: float, wires: float) -> Self:
        """The elements with these factors on the conductances of resistors, and of wires."""
        return self

    def at_supply(self, factor: float) -> Self:
        """The elements with this factor on what supplies them: independent voltages."""
        return self

    def is_wire(self) -> bool:
        """Whether the elements are stretches of wire."""
        return False

    def followed(self) -> tuple[str, np.ndarray] | None:
        """Label and elements of the voltage sources whose currents control these; None where none do."""
        return None

    def can_be_followed(self) -> bool:
        """Whether every element is an independent source whose current may control others."""
        return False

    def irreciprocity(self) -> str:
        """Why the elements leave a circuit without an energy, after their label; empty where they do not."""
        return ""

    def joins_ends(self) -> bool:
        """Whether the ends of an element belong to one resistive block: those of constant currents do not."""
        return False

    def is_controlled(self) -> bool:
        """Whether voltages or currents elsewhere control the elements, so that a loop through them may amplify."""
        return False

    @property
    def law_type(self) -> type:
        """The class whose law it is."""
        return type(self)

    def parts(self) -> Sequence[Branches]:
        """What stands for the elements in Kirchhoff's equations: groups of one current an element.

        These themselves, but for elements with several currents. Made once, so that a solver finds the same ones again.
        """
        return (self,)

    def rows(self) -> VoltageRows | None:
        """What voltages are prescribed; None where none are."""
        return None

    def resistors(self) -> np.ndarray | None:
        """Conductances `(n_elements,)` where each current is one times the element's own voltage; else None. [S]"""
        return None

    def conducts(self) -> np.ndarray:
        """Elements that leave a resistive path between their ends whatever the voltages, bool `(n_elements,)`."""
        return np.zeros(len(self), dtype=bool)

    def adjoint(self, network: AdjointElements) -> Iterator[Branches]:
        """What stands for the elements in an adjoint network: their transposed equations, see `adjoint_network`.

        By default what stands for their `parts`; nothing for elements without a law of current or voltage at rest.
        """
        for part in self.parts():
            if part is not self:
                yield from part.adjoint(network)

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

    has_law: ClassVar[bool] = True

    law_method: ClassVar[str] = "current"
    linear: ClassVar[bool] = False
    """Whether the current is a sum of constant slopes times the controls, and a constant."""

    has_own_supply: ClassVar[bool] = False
    """Whether its power comes from a supply that is no part of the circuit, as a controlled source's does."""

    is_defined_everywhere: ClassVar[bool] = True
    """Whether current and slopes are finite at moderate voltages, 0 V too. A law that has holes, as v(b)/v(a) has,
    is not tried by itself: which voltages are in its range only the circuit says."""

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

    def current_and_slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Both of them, for laws that find them faster together."""
        return self.current(*volts), self.slopes(*volts)

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
            functions exp, ln, sqrt, abs, min, max, sin, cos, tanh; dialects put their own name for ln. Powers are
            products, since ``**`` takes the magnitude of its base in ngspice and not elsewhere. [A]
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

    def condition(self) -> np.ndarray:
        """Error that float64 makes in each current, over that of four roundings, `(n_elements,)`.

        More than 1 where a parameter comes out of an ill-conditioned formula, as a saturation current at another
        temperature does.
        """
        return np.ones(len(self))

    def steepness(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Voltages V_k [V] and slopes g_k [S], `(n_elements,)`, with di/dv ≤ |i|/V_k + g_k; None where unknown.

        Of a current of the element's own voltage alone. It spares the solvers' bounds on errors the slopes at every
        state.
        """
        return None

    def irreciprocity(self) -> str:
        if self.is_two_terminal:
            return "" if self.has_cocontent else "has no co-content"
        return ONE_WAY if self.controls() else ""

    def adjoint(self, network: AdjointElements) -> Iterator[Branches]:
        return network.of_currents(self)

    def require_sound(self) -> None:
        """Raise `DeviceParameterError` where a device behind the law contradicts itself."""

    def joins_ends(self) -> bool:
        return self.is_two_terminal

    def is_controlled(self) -> bool:
        return bool(self.controls()) and not self.is_two_terminal

    def is_monotone(self) -> bool:
        """Whether no element's current falls while its own voltage rises: with co-contents, whether E is convex."""
        return False

    def growth_voltages(self) -> tuple[np.ndarray, ...] | None:
        """Rise of each control that multiplies a current by e where it grows exponentially [V].

        Infinite where slopes are bounded; None where all are. Newton's method limits steps by it.
        """
        return None


class VoltageLaw(Branches):
    """The voltage of each element is prescribed; its current follows from Kirchhoff's law at its ends."""

    has_law: ClassVar[bool] = True
    law_method: ClassVar[str] = "rows"

    @abstractmethod
    def rows(self) -> VoltageRows:
        """What is prescribed."""

    def stages(self) -> np.ndarray:
        """Number of the amplifier behind each row that draws from its input, `(n_rows,)`: a differential one has two.

        The rows of one must have the same input, and gains of the same magnitude.
        """
        return np.arange(len(self.rows()))

    def adjoint(self, network: AdjointElements) -> Iterator[Branches]:
        return network.of_rows(self)

    def can_be_followed(self) -> bool:
        rows = self.rows()
        return rows.is_source and len(rows) == len(self)

    def irreciprocity(self) -> str:
        rows = self.rows()
        if rows.gain is None or rows.feedback is None:
            return ONE_WAY if rows.is_one_way else ""
        with np.errstate(all="ignore"):
            ratio = rows.feedback / rows.gain
        return "" if np.all((ratio > 0) & np.isfinite(ratio)) else "has a k/a beyond the range of numbers"

    def joins_ends(self) -> bool:
        return self.rows().is_independent

    def is_controlled(self) -> bool:
        return not self.rows().is_independent


class ChargeLaw(Branches):
    """No current at rest: the charge of each element is its capacitance times the voltage across it."""

    has_law: ClassVar[bool] = True
    law_method: ClassVar[str] = "capacitances"
    is_open_at_rest: ClassVar[bool] = True

    @abstractmethod
    def capacitances(self) -> np.ndarray:
        """Capacitance of each element, `(n_elements,)`. [F]"""
