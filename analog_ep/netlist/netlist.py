"""The one writer of element cards, in any dialect.

Names of elements are the instance letter, the group's label and the index within the group, as in ``r_stage1_17``.
Names that the writer adds begin with an underscore (nodes) or end in ``_inv`` or ``_offset`` (elements), which no
user's name does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analog_ep.circuit import GROUND, Branches, Circuit, CurrentLaw, VoltageLaw
from analog_ep.circuit.names import validate_name
from analog_ep.constants import DEFAULT_TEMPERATURE, SIMULATION_GMIN
from analog_ep.devices.forms import Model, NetlistForm
from analog_ep.errors import CircuitError, DeviceParameterError, NodeNameError
from analog_ep.netlist.dialects import NGSPICE, Dialect, Settings, require_model
from analog_ep.netlist.form_cards import FormCards, checked_form
from analog_ep.netlist.texts import in_celsius, number

_ROUNDED_BITS = 64
"""Last bits of a voltage that the elimination may lose: 2 are too few with gains of 24, 16 suffice."""


_WIDE = 1e6
"""Ratio of conductances beyond which the last digits of voltages are rounding."""

Drive = Callable[[VoltageLaw], Sequence[float | str] | np.ndarray]
"""Gives the value of each source of a group: a number [V], or an expression in ngspice's words for a B source."""


@dataclass(frozen=True)
class SpiceOptions:
    """Tolerances and limits of the simulation.

    The defaults agree with an independent Newton to 1e-10 V; SPICE's own (reltol 1e-3) are useless for responses to
    a nudge.

    Parameters
    ----------
    reltol : float
        Relative tolerance of voltages and currents.
    vntol : float
        Absolute tolerance of voltages. [V]
    abstol : float
        Absolute tolerance of currents. [A]
    gmin : float, optional
        Conductance across every junction; that of the circuit's diodes where None. [S]
    itl1, itl2 : int
        Newton iterations of an operating point, and of each further point of a sweep.
    """

    reltol: float = 1e-9
    vntol: float = 1e-12
    abstol: float = 1e-15
    gmin: float | None = None
    itl1: int = 1000
    itl2: int = 500


def constant_drive(inputs: np.ndarray) -> Drive:
    """Sources at the values that one sample's `inputs`, `(n_inputs,)` [V], give them."""
    return lambda group: group.rows().values(inputs)


class NetlistWriter:
    """Writes the cards of one circuit; everything is checked before the first one is written.

    Parameters
    ----------
    circuit : Circuit
        What to write.
    drive : callable, optional
        Values of the voltage sources; needed where the circuit has inputs. See `constant_drive`.
    options : SpiceOptions
        What `options_card` writes.
    dialect : Dialect, optional
        The simulator's; by default ngspice's.

    Raises
    ------
    NodeNameError
        If a node name or label is not one that every netlist can carry, or stands twice.
    CircuitError
        If the circuit has inputs and no `drive` is given, or a group is of an unknown kind.
    DeviceParameterError
        If diodes have another gmin than the simulation, which has only one.
    """

    def __init__(
        self,
        circuit: Circuit,
        drive: Drive | None = None,
        options: SpiceOptions | None = None,
        dialect: Dialect | None = None,
    ):
        self.circuit = circuit
        self.dialect = NGSPICE if dialect is None else dialect
        self.options = options or SpiceOptions()
        _check_names(circuit)
        self._forms = {group.label: checked_form(group, self.dialect) for group in circuit.groups}
        if drive is None and circuit.n_inputs:
            raise CircuitError(f"the circuit has {circuit.n_inputs} inputs; give the values of its sources, found none")
        drive = drive or constant_drive(np.zeros(0))
        driven = {group.label: self._forms[group.label].driven_values(drive, group) for group in circuit.groups}
        self._source_values = {label: values for label, values in driven.items() if values is not None}
        self.gmin = _gmin(self._forms.values(), self.options)

    def title_card(self) -> str:
        """First line of a deck, a comment."""
        title = self.circuit.title
        if not title.isprintable() or not title.isascii():
            raise NodeNameError(f"a title must be printable ASCII on one line, found {title!r}")
        return self.dialect.comment(title)

    def options_card(self) -> str:
        """Temperatures, tolerances and limits, all explicit."""
        o = self.options
        celsius, nominal = (in_celsius(kelvin) for kelvin in (self.circuit.temperature, DEFAULT_TEMPERATURE))
        abstol = max(o.abstol, _current_resolution(self.circuit, self._forms))
        reltol, vntol, abstol, gmin = (number(value) for value in (o.reltol, o.vntol, abstol, self.gmin))
        limits = int(o.itl1), int(o.itl2), is_wide(self.circuit)
        settings = Settings(celsius, nominal, reltol, vntol, abstol, gmin, *limits)
        return "\n".join(self.dialect.settings(settings))

    def model_cards(self) -> list[str]:
        """One model per distinct set of parameters, and cards of others' that elements are instances of."""
        cards = list(self._foreign.values())
        for (type, parameters), name in self._models.items():
            texts = {key: number(value) for key, value in parameters}
            cards.append(self.dialect.model_card(name, type, texts) if type else self.dialect.model(name, texts))
        return cards

    def element_cards(self) -> Iterator[str]:
        """Cards of all elements, in the circuit's order."""
        for group in self.circuit.groups:
            yield from self.group_cards(group)

    def group_cards(self, group: Branches) -> Iterator[str]:
        """Cards of the elements of one group."""
        return self._forms[group.label].cards(self._cards, group)

    def element_name(self, group: Branches, i: int) -> str:
        """Name of element `i` of a group; for an amplifier that of the source that drives its output."""
        return self._cards.name(group, i)

    def across(self, first: int, second: int) -> str:
        """Text of the voltage between two nodes."""
        return self._cards.across(first, second)

    def follows_sources(self, group: Branches) -> bool:
        """Whether the cards of a group depend on the values of the sources."""
        return self._forms[group.label].follows_sources

    @cached_property
    def _cards(self) -> FormCards:
        return FormCards(self.circuit, self.dialect, self._forms, self._source_values, self._models)

    @cached_property
    def _foreign(self) -> dict[str, str]:
        """Others' cards by the name of what they define."""
        found: dict[str, str] = {}
        for form in self._forms.values():
            name, text = form.definitions()
            if found.setdefault(name, text) != text:
                raise CircuitError(f"a netlist has one {name} for all elements, found two; give them one corner")
        found.pop("", None)
        return found

    @cached_property
    def _models(self) -> dict[Model, str]:
        """Names of the models by their type and parameters, in order of appearance."""
        names: dict[Model, str] = {}
        kelvin = None if self.dialect.has_device_temperature else self.circuit.temperature
        for group in self.circuit.groups:
            for i, model in enumerate(self._forms[group.label].models(len(group), kelvin)):
                if model not in names:
                    require_model(self.dialect, model, f"{self._forms[group.label].letter}_{group.label}_{i}")
                    names[model] = f"{model[0].lower() or 'diode'}_{len(names)}"
        return names


def is_wide(circuit: Circuit) -> bool:
    """Whether conductances span so much that the last digits of voltages are rounding, as beside wires of 1 S."""
    found = [abs(g) for group in circuit.of_kind(CurrentLaw) if (g := group.resistors()) is not None and len(g)]
    conductances = np.concatenate([np.zeros(0), *found])
    conductances = conductances[conductances > 0]
    return bool(len(conductances)) and bool(conductances.max() >= _WIDE * conductances.min())


def _check_names(circuit: Circuit) -> None:
    """The builder checks names as they are added; a circuit may have been made without it."""
    if not circuit.node_names or circuit.node_names[0] != "0":
        raise NodeNameError(f"the first node must be ground, '0', found {circuit.node_names[:1]}")
    for names in (circuit.node_names[1:], [group.label for group in circuit.groups]):
        for name in names:
            validate_name(name)
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise NodeNameError(f"names in a netlist must be unique, found {twice!r} twice")


def _gmin(forms: Iterable[NetlistForm], options: SpiceOptions) -> float:
    found = {siemens for form in forms for siemens in form.gmin()}
    wanted = found if options.gmin is None else found | {options.gmin}
    if len(wanted) > 1:
        raise DeviceParameterError(
            f"SPICE has one gmin for all junctions, found {sorted(wanted)} S; give all diodes and the options one value"
        )
    return next(iter(wanted), SIMULATION_GMIN)


def _current_resolution(circuit: Circuit, forms: Mapping[str, NetlistForm]) -> float:
    """Current by which the rounding of the voltages moves the steepest piecewise-linear element. [A]

    Without it as a tolerance ngspice goes back and forth between neighbouring numbers, until it gives the point up.
    """
    rails, steepest = np.zeros(circuit.n_nodes), 0.0
    for rows in (group.rows() for group in circuit.of_kind(VoltageLaw)):
        if rows.is_independent:
            for node in (rows.positive, rows.negative):
                np.maximum.at(rails, node, np.abs(rows.volts))
    rails[GROUND] = 0.0
    for group in circuit.groups:
        if len(group):
            first, second = group.ends()
            volts = float(max(rails[first].max(), rails[second].max()))
            steepest = max(steepest, forms[group.label].steepest_current(volts))
    return float(steepest * _ROUNDED_BITS * np.finfo(np.float64).eps)
