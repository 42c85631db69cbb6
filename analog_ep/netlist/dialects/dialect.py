"""The common ground of the SPICE family, and ngspice's own forms where the family has none."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from analog_ep.devices.foreign_form import FOREIGN
from analog_ep.netlist.dialects.analyses import Analyses
from analog_ep.netlist.dialects.sweeps import Sweeps
from analog_ep.netlist.dialects.transients import Transients
from analog_ep.netlist.texts import number

_WIDTH = 110

FORMS = frozenset(["elements", "junction diodes", "piecewise-linear elements", "expressions", "tables", "model cards"])
"""Names of the netlist forms of all simulators, see `analog_ep.devices.forms`."""

_LONG_NUMBER = re.compile(r"(?<![a-z0-9_.])(?=(?:\d\.?){11})\d+\.?\d*(?:e[+-]?\d+)?")
"""A number of more digits than ngspice reads in an expression."""

_FAR = 1e3
"""Where the outer segments of a table end, for simulators that do not go on along them. [V]"""


@dataclass(frozen=True)
class Settings:
    """What a deck states about the simulation. All values are texts of numbers.

    Attributes
    ----------
    celsius : str
        Temperature of the simulation. [°C]
    nominal : str
        Temperature at which the parameters of a model hold that does not say another. [°C]
    reltol, vntol, abstol : str
        Tolerances: relative, of voltages [V], of currents [A].
    gmin : str
        Conductance across every junction. [S]
    itl1, itl2 : int
        Newton iterations of an operating point, and of each further point of a sweep.
    wide : bool
        Whether conductances span so much that the last digits of voltages are rounding.
    """

    celsius: str
    nominal: str
    reltol: str
    vntol: str
    abstol: str
    gmin: str
    itl1: int
    itl2: int
    wide: bool = False


class Dialect:
    """How one simulator wants its cards: formatting alone. What is written, and in which order, is `NetlistWriter`'s.

    This class is ngspice; a dialect overrides the forms that differ. Names of elements come with their instance
    letter, nodes by name, values as text of a number.
    """

    name: ClassVar[str] = "ngspice"
    comment_mark: ClassVar[str] = "*"
    forms: ClassVar[frozenset[str]] = FORMS | {FOREIGN}
    """Names of the netlist forms that can be written."""
    how_to_run: ClassVar[str] = "Run it with: ngspice -b FILE (checked with ngspice 39.3)."
    prints: ClassVar[str] = "It prints tables with a row a phase: v-sweep 0 is free, 1 is nudged."
    analyses: ClassVar[Analyses | None] = Analyses()
    """What is run besides sweeps; None for a simulator whose other analyses the package does not run."""
    sweeps: ClassVar[Sweeps | None] = analyses
    """What solvers run; None for a simulator that solves no batches here."""
    transients: ClassVar[Transients | None] = analyses
    """What transients ask for; None for a simulator that is given decks of operating points alone."""
    has_energy: ClassVar[bool] = True
    """Whether the expressions of the energy, with functions and currents inside subcircuits, can be written."""
    has_library: ClassVar[bool] = True
    """Whether `netlists/*.lib` can be read; otherwise amplifiers and diodes are written as elements."""
    has_device_temperature: ClassVar[bool] = True
    """Whether a diode can have a temperature of its own; otherwise its model is that of the diode which is the
    same at the circuit's temperature."""

    rounds_constants: ClassVar[bool] = True
    """Whether constants in expressions are read to eleven digits; then those that have more are written as sums."""
    cuts_headings: ClassVar[bool] = True
    """Whether tables show 15 characters of a name; a list of an operating point has all of them."""
    logarithm: ClassVar[str] = "ln"
    """Name of the natural logarithm, in expressions."""
    table_function: ClassVar[str] = "pwl"
    """Name of the function of points, in expressions."""
    tables_go_on: ClassVar[bool] = True
    """Whether it goes on along its outer lines; otherwise it stays at its outer values, and gets points far out."""

    def comment(self, text: str) -> str:
        """A line that the simulator skips; in the first place also the title."""
        return f"{self.comment_mark} {text}"

    def paragraph(self, text: str) -> Iterator[str]:
        """A text as comment lines."""
        first, others = f"{self.comment_mark} ", f"{self.comment_mark}   "
        yield from textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=others)

    def settings(self, settings: Settings) -> list[str]:
        """Temperatures, tolerances and limits, all explicit."""
        s = settings
        return [
            f".options TEMP={s.celsius} TNOM={s.nominal} reltol={s.reltol} vntol={s.vntol} "
            f"abstol={s.abstol} gmin={s.gmin} itl1={s.itl1} itl2={s.itl2}"
        ]

    def print_settings(self) -> list[str]:
        """What makes the simulator print digits enough."""
        # .options cannot set the digits that ngspice 39 prints; other simulators read the line as a comment.
        return ["*#set numdgt=9", ".width out=132"]

    def model(self, name: str, parameters: dict[str, str]) -> str:
        """Model of a junction diode; the parameters in SPICE's words."""
        return self.model_card(name, "D", parameters)

    def model_card(self, name: str, type: str, parameters: dict[str, str]) -> str:
        """Model of any device, such as NMOS; the parameters in SPICE's words."""
        return f".model {name} {type}({' '.join(f'{key}={value}' for key, value in parameters.items())})"

    def has_model(self, type: str, parameters: Mapping[str, float]) -> bool:
        """Whether there is a model of this type and level."""
        return True

    def instance(self, name: str, nodes: Sequence[str], model: str, parameters: dict[str, str]) -> str:
        """A device with a model card, and parameters of its own."""
        return " ".join([name, *nodes, model, *(f"{key}={value}" for key, value in parameters.items())])

    def element(self, name: str, nodes: Sequence[str], value: str) -> str:
        """R, C, V, I, and the voltage-controlled sources E and G, whose nodes are four."""
        return f"{name} {' '.join(nodes)} {value}"

    def waveform(self, name: str, nodes: Sequence[str], values: str) -> str:
        """A voltage source that follows a waveform, see `Transients.corners`."""
        return self.element(name, nodes, values)

    def elements(self, stem: str, rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
        """Elements of two nodes, numbered after `stem`, of rows (node, node, value); there may be very many."""
        return (f"{stem}{i} {first} {second} {value}" for i, (first, second, value) in enumerate(rows))

    def current_controlled(self, name: str, nodes: Sequence[str], source: str, gain: str) -> str:
        """F or H, controlled by the current through a voltage source."""
        return f"{name} {' '.join(nodes)} {source} {gain}"

    def diode(self, name: str, nodes: Sequence[str], model: str, celsius: str | None) -> str:
        """A junction diode, held at a temperature of its own where one is given, else following the simulation. [°C]"""
        return f"{name} {' '.join(nodes)} {model}" + (f" temp={celsius}" if celsius else "")

    def device_temperature(self, celsius: str) -> dict[str, str]:
        """Parameters of an instance that hold it at a temperature of its own. [°C]"""
        return {"TEMP": celsius}

    def in_own_words(self, expression: str) -> str:
        """An expression of shared words as the simulator has it: with its name of the logarithm, and in its digits."""
        own = expression.replace("ln(", f"{self.logarithm}(")
        return _LONG_NUMBER.sub(lambda found: _in_two(found[0]), own) if self.rounds_constants else own

    def behavioural(self, name: str, nodes: Sequence[str], quantity: str, expression: str) -> str:
        """A source of current ("i") or voltage ("v") that follows an expression of node voltages."""
        return f"{name} {' '.join(nodes)} {quantity}={expression}"

    def function(self, name: str, arguments: Sequence[str], body: str) -> str:
        """A function for expressions."""
        return f".func {name}({','.join(arguments)}) {{{body}}}"

    def piecewise_linear(
        self, name: str, nodes: Sequence[str], leakage: float, bends: Sequence[tuple[float, float]]
    ) -> str:
        """A current through 0 A at 0 V with slope `leakage` [S], and bends: voltage [V], change of the slope [S]."""
        across = f"v({nodes[0]},{nodes[1]})"
        terms = [f"{leakage!r}*{across}"]
        for at, change in bends:
            terms.append(f"({change!r})*(max({across}-({at!r}),0)-({max(-at, 0.0)!r}))")
        return self.behavioural(name, nodes, "i", "+".join(terms))

    def table(
        self, name: str, nodes: Sequence[str], control: Sequence[str], points: Sequence[tuple[float, float]]
    ) -> str:
        """A current through points of the voltage between two nodes, beyond the last ones along the outer lines."""
        points = points if self.tables_go_on else continued(points)
        texts = ",".join(f"{number(volts)},{number(amperes)}" for volts, amperes in points)
        return self.behavioural(name, nodes, "i", f"{self.table_function}({self.across(*control)},{texts})")

    def across(self, first: str, second: str) -> str:
        """Voltage between two nodes, of which the second may be ground."""
        return self.voltage(first) if second == "0" else self.voltage(first, second)

    def nodeset(self, voltages: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Where the search for an operating point begins: nodes and their voltages."""
        pairs = " ".join(f"{self.voltage(node)}={volts}" for node, volts in voltages)
        yield from textwrap.wrap(pairs, _WIDTH, initial_indent=".nodeset ", subsequent_indent="+ ")

    def sweep(self, source: str, values: str, tables: Iterable[Sequence[tuple[str, ...]]]) -> Iterator[str]:
        """A `.dc` of a source over "start stop step", and tables of node voltages, or differences of pairs of nodes."""
        yield f".dc {source} {values}"
        for table in tables:
            yield from self.print_card([self.voltage(*nodes) for nodes in table])

    def point(self, source: str, value: str, tables: Iterable[Sequence[tuple[str, ...]]]) -> Iterator[str]:
        """What prints node voltages at one value of a source, which it has on its card."""
        if self.cuts_headings:
            yield ".op"
        else:
            yield from self.sweep(source, f"{value} {value} 1", tables)

    def print_card(self, vectors: Sequence[str]) -> Iterator[str]:
        """A table of an operating point or a sweep."""
        yield from textwrap.wrap(" ".join(vectors), _WIDTH, initial_indent=".print dc ", subsequent_indent="+ ")

    def voltage(self, *nodes: str) -> str:
        """Voltage of a node, or between two."""
        return f"v({','.join(nodes)})"

    def current(self, source: str) -> str:
        """Current through a voltage source, from its positive node to its negative one."""
        return f"i({source})"

    def end(self) -> str:
        """Last line of a deck."""
        return ".end"

    def finished(self, lines: Iterable[str]) -> Iterable[str]:
        """A whole deck, of all its lines: what one card alone could not say is arranged here."""
        return lines


def _in_two(number: str) -> str:
    """A number as the sum of two of at most ten digits, to float64's precision."""
    high = float(f"{float(number):.9e}")
    low = float(f"{float(Decimal(number) - Decimal(high)):.9e}")
    return f"({high!r}+({low!r}))" if low else repr(high)


def continued(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of a table with one far beyond either end, on the lines through the outer two."""
    (first, second), (before, last) = points[:2], points[-2:]
    far = [(-_FAR, _on_line(first, second, -_FAR)), (_FAR, _on_line(last, before, _FAR))]
    return [*([far[0]] if first[0] > -_FAR else []), *points, *([far[1]] if last[0] < _FAR else [])]


def _on_line(at: tuple[float, float], through: tuple[float, float], volts: float) -> float:
    return at[1] + (through[1] - at[1]) / (through[0] - at[0]) * (volts - at[0])
