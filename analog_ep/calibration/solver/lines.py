"""Lines of a vendor's netlist as ngspice reads them: continued, without comments, each with where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analog_ep.errors import CircuitError, DataError
from analog_ep.measurements.content import decoded, read_limited

_MICRO = str.maketrans({"µ": "u", "μ": "u", "\t": " ", "\xa0": " ", "\x0b": " ", "\x0c": " "})
_COMMANDS = "`$;"
"""They would be commands or comments in the middle of a card."""

_LONGEST = 20_000
"""Characters of a card: ngspice takes a time that goes as their square."""


@dataclass(frozen=True)
class Line:
    """One card.

    Attributes
    ----------
    text : str
        Without comments and continuations; spaces stand alone.
    number : int
        Line of the file where it begins.
    file : Path
        The file.
    parts : tuple of (int, str)
        What each line of the file gives of it, with its number.
    """

    text: str
    number: int
    file: Path
    parts: tuple[tuple[int, str], ...] = ()

    @property
    def place(self) -> str:
        """File and line, as an error begins."""
        return f"{self.file}, line {self.number}"

    @property
    def kind(self) -> str:
        """Word of a card that begins with a dot, in lower case and without it; empty for an element."""
        word = self.text.split(" ", 1)[0].lower()
        if not word.startswith("."):
            return ""
        # ngspice takes whatever begins so; some vendors write .ENDS*.
        return "ends" if word.startswith(".ends") else word[1:] or "."

    def place_of(self, word: str) -> str:
        """File and line where a word stands; where the card begins if it is nowhere."""
        number = next((number for number, text in self.parts if word.lower() in text.lower()), self.number)
        return f"{self.file}, line {number}"

    def require_plain(self) -> None:
        """Raise `CircuitError` where it is longer, or holds a character, than a card may."""
        if len(self.text) > _LONGEST:
            raise CircuitError(f"{self.place}: a card must be of at most {_LONGEST} characters, found {len(self.text)}")
        for character in self.text:
            if not " " <= character <= "~":
                raise CircuitError(
                    f"{self.place_of(character)}: must be a netlist in plain ASCII but for its comments, "
                    f"found {character!r}; take it out"
                )
            if character in _COMMANDS:
                raise CircuitError(
                    f"{self.place_of(character)}: a deck may hold elements and cards without ` and $, "
                    f"found {character!r}; take it out"
                )


def read_lines(path: Path) -> list[Line]:
    """The cards of a file.

    UTF-8, UTF-16 and Latin-1 are read; lines that begin with ``*`` and what follows ``;``, ``//`` or `` $`` are
    comments; lines that begin with ``+`` go on with the card before them.

    Raises
    ------
    DataError
        If the file cannot be read, or continues a card where there is none.
    """
    try:
        text = decoded(read_limited(path))
    except OSError as error:
        raise DataError(f"{path} must be a readable netlist, found: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} must be a netlist in text, found other bytes") from None
    cards: list[list[tuple[int, str]]] = []
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        line = _without_comment(raw.translate(_MICRO).strip())
        if not line:
            continue
        if not line.startswith("+"):
            cards.append([(number, line)])
        elif cards:
            cards[-1].append((number, line[1:]))
        else:
            raise DataError(f"{path}, line {number}: a + must continue a card above it, found none")
    return [Line(_joined(parts), parts[0][0], path, tuple(parts)) for parts in cards]


def _joined(parts: list[tuple[int, str]]) -> str:
    return " ".join(" ".join(text for _, text in parts).split())


def _without_comment(line: str) -> str:
    if line.startswith("*"):
        return ""
    for mark in (";", "//"):
        line = line.partition(mark)[0]
    at = line.find("$")
    # Within a word it belongs to a name.
    while at > 0 and line[at - 1] not in " ,":
        at = line.find("$", at + 1)
    return line if at < 0 else line[:at].rstrip()
