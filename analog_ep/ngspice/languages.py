"""What engines read, and what they say of themselves and of a run: ngspice's netlists and words."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from analog_ep.errors import NgspiceNotFoundError

Ask = Callable[[Sequence[str], bytes], tuple[int, str]]
"""Runs a program with arguments and an input; gives its exit status and what it said."""

BATCH = ("-n", "-b", "-r", "out.raw")

OLDEST_VERSION = 34
"""Oldest ngspice whose results are accepted."""

ELEMENTS = "rcvliekdqjmsgfhbxw"
"""Letters that names of elements may begin with; others load code models."""

_CARDS = "options model func param subckt ends ic nodeset op dc ac tran noise save end"
# Everything else is refused: ``.control`` and ``*#`` lines are commands, ``.include`` and ``.lib`` read files, and
# ``;``, ``$`` and backticks are comments or commands in the middle of a card.
# The line's end before it lets the search go from line to line; sources in long words make most of a deck.
_REFUSED_LINE = re.compile(
    rf"\n(?! *(\*(?!#)|\+|[{ELEMENTS}]\S+\s|\.({'|'.join(_CARDS.split())})(\s|$)|$))(?P<line>.*)",
    re.IGNORECASE | re.MULTILINE,
)
_ACCEPTED_CHARACTERS = bytes({*b"\n", *range(0x20, 0x7F)} - {*b"`;$"})

_WORDS_LIMIT = 300
_SUSPICIOUS = re.compile(
    r"warning|error|singular|fail|abort|can't|cannot|could not|undefined|unknown|missing|too small",
    re.IGNORECASE,
)


class Language(ABC):
    """The netlists of a kind of engines, and how to understand what these say."""

    program: ClassVar[str]
    """What messages call such an engine."""
    dialect: ClassVar[str]
    """In which its netlists are written."""
    batch: ClassVar[Sequence[str]]
    """Arguments that run a netlist."""
    exported: ClassVar[Sequence[str]]
    """Arguments that run one as its user would."""
    netlist: ClassVar[str] = ""
    """The file that it reads; its input where there is none."""
    files: ClassVar[Mapping[str, bytes]] = {}
    """Others that must be there."""
    result: ClassVar[str] = "out.raw"
    """The file that it writes."""
    allowed: ClassVar[str]
    """What a deck may hold, in words."""

    _harmless: ClassVar[re.Pattern[str]]

    @abstractmethod
    def refused(self, deck: str, text: bytes) -> str:
        """What a deck may not hold, of which `text` has the bytes; nothing where all may be."""

    @abstractmethod
    def version(self, where: Path, ask: Ask) -> str:
        """Of the program at a path; `NgspiceNotFoundError` where it is another one, or too old."""

    @abstractmethod
    def has_klu(self, ask: Ask) -> bool:
        """Whether it has the solver KLU."""

    @abstractmethod
    def has_osdi(self, ask: Ask) -> bool:
        """Whether it loads compiled Verilog-A models."""

    def last_words(self, output: str) -> str:
        """What it complains about, on one line: from the first complaint on, each line once."""
        lines = [re.sub(r"\s+", " ", self._harmless.sub("", line)).strip() for line in _once(output.splitlines())]
        first = next((i for i, line in enumerate(lines) if _SUSPICIOUS.search(line)), len(lines))
        text = "; ".join(_once(line for line in lines[first:] if line))
        return text if len(text) <= _WORDS_LIMIT else text[: _WORDS_LIMIT - 1] + "…"


def _once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))


class NgspiceLanguage(Language):
    """ngspice's, whatever runs it."""

    program = "ngspice"
    dialect = "ngspice"
    batch = BATCH
    exported = ("-n", "-b")
    allowed = f"elements and the cards .{', .'.join(_CARDS.split())}"

    # The steps of ngspice's search for an operating point, of which those that fail are followed by others.
    _harmless = re.compile(
        r"Note:.*|Circuit:.*|Using (SPARSE|KLU).*|Trying gmin = *\S+|Supplies reduced to *\S+"
        r"|Warning: can't find the initialization file spinit\."
        # Of BSIM3 without perimeters of its junctions.
        r"|Warning: P[ds] = 0 is less than W\."
        r"|Warning: (Further gmin increment|Last gmin step failed|(Dynamic|True) gmin stepping failed"
        r"|gmin step failed|source stepping failed"
        r"|Nesting of subcircuits with parameters is only marginally supported!)"
    )

    def refused(self, deck: str, text: bytes) -> str:
        found = text.translate(None, _ACCEPTED_CHARACTERS).decode("utf-8", "surrogatepass")[:1]
        if not found and (line := _REFUSED_LINE.search("\n" + deck)):
            found = line["line"][:40]
        return found

    def version(self, where: Path, ask: Ask) -> str:
        _, output = ask(["--version"], b"")
        match = re.search(r"ngspice-(\d{1,4}(?:\.\d{1,4})?)", output)
        if match is None:
            raise NgspiceNotFoundError(
                f"{where} must be ngspice, found a program that names no version; check the path"
            )
        if float(match[1]) < OLDEST_VERSION:
            raise NgspiceNotFoundError(
                f"ngspice must be version {OLDEST_VERSION} or newer, found {match[1]}; upgrade it"
            )
        return match[1]

    def has_klu(self, ask: Ask) -> bool:
        status, output = ask(BATCH, b"* klu\n.options klu\nv_0 a 0 1.0\nr_0 a 0 1.0\n.op\n.end\n")
        return status == 0 and "Using KLU" in output

    def has_osdi(self, ask: Ask) -> bool:
        deck = b"* osdi\nv_0 a 0 1.0\n.control\nosdi absent.osdi\n.endc\n.end\n"
        return "Error opening osdi lib" in ask(("-n", "-b"), deck)[1]
