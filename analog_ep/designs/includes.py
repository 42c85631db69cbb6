"""Files that a netlist includes: those of one folder, and none outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from analog_ep.designs.source import MOST_CARDS, Card, Lines, SourceFile, split_lines
from analog_ep.errors import NetlistError

_DEEPEST = 20
_MOST_FILES = 1000


@dataclass
class Files:
    """The files of a design, each read once.

    Attributes
    ----------
    folder : Path
        The one that holds them all, its links followed.
    known : dict of Path to Lines
        What was read.
    """

    folder: Path
    known: dict[Path, Lines] = field(default_factory=dict)
    _n_cards: int = 0

    def cards(self, main: Lines) -> Iterator[Card]:
        """All cards of a design, those of included files in the place of the card that includes them.

        Raises
        ------
        NetlistError
            If a file lies outside of the folder, is missing, or includes itself, or there are too many of them.
        """
        self.known[Path(os.path.realpath(main.file.path))] = main
        yield from self._expanded(main.cards, [])

    def _expanded(self, cards: tuple[Card, ...], open_files: list[tuple[Path, str]]) -> Iterator[Card]:
        for card in cards:
            self._n_cards += 1
            if self._n_cards > MOST_CARDS:
                raise card.refuse(f"a design must be of at most {MOST_CARDS} cards with what it includes")
            if card.kind in ("include", "inc"):
                path = self._resolved(card, _argument(card, 1)[0])
                yield from self._inside(card, path, "", open_files)
            elif card.kind == "lib":
                name, section = _argument(card, 2)
                yield from self._inside(card, self._resolved(card, name), section.lower(), open_files)
            elif card.kind == "endl":
                raise card.refuse("an .endl must end a .lib section, found it alone; take it out")
            else:
                yield card

    def _inside(self, card: Card, path: Path, section: str, open_files: list[tuple[Path, str]]) -> Iterator[Card]:
        if (path, section) in open_files or len(open_files) >= _DEEPEST:
            raise card.refuse(f"a file must not include itself, found that {path.name} does")
        if path not in self.known:
            if len(self.known) >= _MOST_FILES:
                raise card.refuse(f"a design must be of at most {_MOST_FILES} files")
            try:
                self.known[path] = split_lines(SourceFile.read(path), is_main=False)
            except NetlistError as error:
                raise card.refuse(f"included: {error}") if str(error).startswith(f"{path} must") else error from None
        lines = self.known[path]
        cards = _section(card, lines, section) if section else lines.cards
        yield from self._expanded(cards, [*open_files, (path, section)])

    def _resolved(self, card: Card, name: str) -> Path:
        try:
            path = Path(os.path.realpath(card.file.path.parent / name))
            is_file = path.is_file()
        except (OSError, ValueError):
            raise card.refuse(f"an included file must have a name that files have, found {name[:60]!r}") from None
        # Whether a file is there outside of the folder is not told either.
        if not path.is_relative_to(self.folder):
            raise card.refuse(
                f"an included file must lie in {self.folder}, found {name[:60]!r} outside of it; copy it there, or "
                f"give a folder that holds all files"
            )
        if not is_file:
            raise card.refuse(f"an included file must be there, found none called {name[:60]!r}")
        return path


def _argument(card: Card, count: int) -> tuple[str, ...]:
    rest = card.text.split(" ", 1)[1].strip() if " " in card.text else ""
    quote = rest[:1] if rest[:1] in ("'", '"') else ""
    if quote:
        name, closed, section = rest[1:].partition(quote)
        words = [name, *section.split()] if closed else []
    else:
        words = rest.split()
    if len(words) == 1 and count == 2:
        raise card.refuse(
            f"a .lib must name a file and its section here, found {rest[:60]!r}; to read a whole file write .include"
        )
    if len(words) != count:
        what = "a file" if count == 1 else "a file and its section"
        raise card.refuse(f"a .{card.kind} must name {what}, found {rest[:60]!r}")
    return tuple(words)


def _section(card: Card, lines: Lines, section: str) -> tuple[Card, ...]:
    """Cards of a section of a library."""
    found: list[Card] = []
    inside, closed, seen = False, False, []
    for line in lines.cards:
        words = line.text.split()
        if line.kind == "lib" and len(words) == 2 and not inside:
            seen.append(words[1].lower())
            inside = words[1].lower() == section and not closed
        elif line.kind == "endl":
            closed |= inside
            inside = False
        elif inside:
            found.append(line)
    if section not in seen:
        raise card.refuse(
            f"{lines.file.path.name} must have the section {section!r}, found {', '.join(seen) or 'none'}"
        )
    if not closed:
        raise card.refuse(f"the section {section!r} of {lines.file.path.name} must end with .endl, found none")
    return tuple(found)
