"""A designer's files as cards: continued, without comments, each character with the place that it has in its file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from analog_ep.errors import NetlistError
from analog_ep.measurements.content import read_limited

MOST_BYTES = 64 << 20
"""Largest file."""

MOST_CARDS = 1_000_000
"""Cards of a design, its included files with it."""

LONGEST_CARD = 20_000
"""Characters of a card: ngspice takes a time that goes as their square."""

_BLANK = str.maketrans({"\t": " ", "µ": "u", "μ": "u"})
_WORD = re.compile(r"[^\s,()={}']+|=|(?P<open>[{'])")
_SEPARATORS = " ,()"
MARKS = ("*@", "*#")
"""What begins a comment that is meant for us; ngspice runs lines with the second as commands that it does not know."""


@dataclass(frozen=True, eq=False)
class SourceFile:
    """A file as text that gives its bytes back.

    Attributes
    ----------
    path : Path
        Where it was read.
    text : str
        All of it, with its line ends and byte order mark.
    encoding : str
        By which the text becomes the bytes again.
    """

    path: Path
    text: str = field(repr=False)
    encoding: str

    @classmethod
    def read(cls, path: Path) -> SourceFile:
        """Read a file in UTF-8 or, where it is none, Latin-1.

        Raises
        ------
        NetlistError
            If it cannot be read, is no text, or is too long.
        """
        try:
            content = read_limited(path, MOST_BYTES)
        except OSError as error:
            raise NetlistError(f"{path} must be a readable netlist, found: {error.strerror}") from None
        if b"\0" in content:
            raise NetlistError(f"{path} must be a netlist in UTF-8 or Latin-1, found bytes of zero; save it as UTF-8")
        try:
            return cls(path, content.decode("utf-8"), "utf-8")
        except UnicodeDecodeError:
            return cls(path, content.decode("latin-1"), "latin-1")

    def line_of(self, offset: int) -> int:
        """Number of the line that holds a character."""
        return self.text.count("\n", 0, offset) + 1

    def changed(self, values: dict[tuple[int, int], str]) -> bytes:
        """The file with other text at some spans, byte for byte as it was elsewhere."""
        parts, at = [], 0
        for (start, end), text in sorted(values.items()):
            parts += [self.text[at:start], text]
            at = end
        return "".join([*parts, self.text[at:]]).encode(self.encoding)


@dataclass(frozen=True, eq=False)
class Card:
    """One card, continuation lines joined by blanks.

    Attributes
    ----------
    text : str
        Without comments.
    file : SourceFile
        Where it stands.
    pieces : tuple of (int, int, int)
        Of each line: where it begins in `text`, its first character's offset in the file, and its number.
    """

    text: str
    file: SourceFile
    pieces: tuple[tuple[int, int, int], ...]

    @property
    def number(self) -> int:
        """Line where it begins."""
        return self.pieces[0][2]

    @property
    def kind(self) -> str:
        """Word of a card that begins with a dot, in lower case and without it; empty for an element."""
        if not self.text.startswith("."):
            return ""
        word = re.split(r"[\s(={']", self.text[1:], maxsplit=1)[0].lower()
        return "ends" if word.startswith("ends") else word

    def refuse(self, what: str, at: int = 0) -> NetlistError:
        """An error that begins with file and line; `at` is the character of the card that is at fault."""
        return NetlistError(f"{self.place(at)}: {what}")

    def place(self, at: int = 0) -> str:
        """File and line of a character."""
        number = next((number for begin, _, number in reversed(self.pieces) if begin <= at), self.number)
        return f"{self.file.path}, line {number}"

    def span(self, start: int, end: int) -> Span | None:
        """Where characters of the card stand in the file; None where they are on two lines."""
        for begin, offset, _ in reversed(self.pieces):
            if begin <= start:
                following = [b for b, _, _ in self.pieces if b > start]
                if following and end > following[0] - 1:
                    return None
                return Span(self.file, offset + start - begin, offset + end - begin)
        return None


@dataclass(frozen=True)
class Span:
    """Characters of a file."""

    file: SourceFile
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters."""
        return self.file.text[self.start : self.end]

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file.path}, line {self.file.line_of(self.start)}"


@dataclass(frozen=True, eq=False)
class Word:
    """A word of a card: a name, a number, ``=``, or an expression with its braces or quotes."""

    text: str
    card: Card
    start: int

    @property
    def end(self) -> int:
        """The character of the card behind it."""
        return self.start + len(self.text)

    @property
    def lower(self) -> str:
        """Its text in lower case."""
        return self.text.lower()

    @property
    def is_expression(self) -> bool:
        """Whether it stands in braces or quotes."""
        return self.text[:1] in "{'"

    def refuse(self, what: str) -> NetlistError:
        """An error that begins with file and line of the word."""
        return self.card.refuse(what, self.start)


@dataclass(frozen=True, eq=False)
class Lines:
    """Content of a file.

    Attributes
    ----------
    file : SourceFile
        The file.
    title : str
        First line, where it is no card.
    cards : tuple of Card
        In order; control blocks are left out.
    marks : tuple of Card
        Comments for us, without the characters that begin them.
    skipped : tuple of str
        What was left out, with its line.
    """

    file: SourceFile
    title: str
    cards: tuple[Card, ...]
    marks: tuple[Card, ...]
    skipped: tuple[str, ...] = field(default=())


def words_of(card: Card, start: int = 0) -> list[Word]:
    """Words of a card from a character on.

    Raises
    ------
    NetlistError
        If a brace or quote is not closed.
    """
    found, at, text = [], start, card.text
    while at < len(text):
        if text[at] in _SEPARATORS:
            at += 1
            continue
        match = _WORD.match(text, at)
        if match is None:
            raise card.refuse(f"a brace must be opened before it is closed, found {text[at:][:20]!r}", at)
        end = _closed(card, at) if match["open"] else match.end()
        found.append(Word(text[at:end], card, at))
        at = end
    return found


def require_blanks(card: Card, words: list[Word]) -> None:
    """Raise `NetlistError` where brackets or commas stand between words, of which simulators make different things."""
    ends = [0, *(word.end for word in words)]
    for end, start in zip(ends, [*(word.start for word in words), len(card.text)], strict=True):
        between = card.text[end:start].strip(" ")
        if between:
            raise card.refuse(f"words must be parted by blanks, found {between[:10]!r} between them; take it out", end)


def _closed(card: Card, start: int) -> int:
    """The character behind the brace or quote that closes the one at `start`."""
    text = card.text
    if text[start] == "'":
        end = text.find("'", start + 1)
    else:
        depth, end = 0, -1
        for at in range(start, len(text)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                end = at
                break
    if end < 0:
        raise card.refuse(f"a brace or quote must be closed, found {text[start : start + 20]!r} without its end", start)
    return end + 1


def split_lines(file: SourceFile, is_main: bool) -> Lines:
    """The cards of a file.

    Parameters
    ----------
    file : SourceFile
        The file.
    is_main : bool
        Whether its first line is the title, as in every deck, and no included file.

    Raises
    ------
    NetlistError
        If a line continues none, a block does not end, or a character stands in it that no netlist has.
    """
    cards: list[list[tuple[str, int, int]]] = []
    marks: list[Card] = []
    skipped: list[str] = []
    title, block, ended, number = "", 0, 0, 0
    for number, offset, raw in _physical(file):
        if number == 1 and is_main:
            title = raw.strip()
            marks += _mark(file, raw, offset, number)
            continue
        line = raw.translate(_BLANK)
        begin = len(line) - len(line.lstrip(" "))
        lower = line.strip().lower()
        if block:
            block = 0 if lower.startswith(".endc") else block
        elif lower.startswith(".control"):
            block = number
            skipped.append(f"line {number}: a control block, which nothing here runs")
        elif ended and _without_comment(line[begin:]):
            # ngspice reads on.
            raise NetlistError(
                f"{file.path}, line {number}: nothing may stand behind the .end in line {ended}, found "
                f"{line.strip()[:40]!r}"
            )
        elif lower.split(" ", 1)[0] == ".end":
            ended = number
        elif line[begin : begin + 2] == MARKS[1] or line[begin : begin + 2] == MARKS[0]:
            marks += _mark(file, raw, offset, number)
        else:
            _add(cards, file, line, begin, offset, number)
    if block:
        raise NetlistError(f"{file.path}, line {block}: every .control must have its .endc, found none")
    if len(cards) > MOST_CARDS:
        raise NetlistError(f"{file.path} must be of at most {MOST_CARDS} cards, found {len(cards)}")
    return Lines(file, title, tuple(_card(file, parts) for parts in cards), tuple(marks), tuple(skipped))


def _physical(file: SourceFile) -> Iterator[tuple[int, int, str]]:
    """Number, offset and text of each line."""
    offset = 1 if file.text.startswith("\ufeff") else 0
    for number, line in enumerate(file.text[offset:].split("\n"), start=1):
        yield number, offset, line.removesuffix("\r")
        offset += len(line) + 1


def _mark(file: SourceFile, raw: str, offset: int, number: int) -> list[Card]:
    stripped = raw.translate(_BLANK).lstrip(" ")
    if not stripped.startswith(MARKS):
        return []
    begin = len(raw) - len(stripped) + 2
    return [Card(raw[begin:].translate(_BLANK), file, ((0, offset + begin, number),))]


def _add(
    cards: list[list[tuple[str, int, int]]], file: SourceFile, line: str, begin: int, offset: int, number: int
) -> None:
    text = _without_comment(line[begin:])
    if not text:
        return
    for at, character in enumerate(text):
        if not " " <= character <= "~" or (character in '`"\\' and not text.lower().startswith((".inc", ".lib"))):
            raise NetlistError(
                f'{file.path}, line {number}: outside of comments a netlist must be in plain ASCII without ` " and '
                f"\\, found {character!r} at column {begin + at + 1}; take it out"
            )
    if not text.startswith("+"):
        cards.append([(text, offset + begin, number)])
    elif cards:
        cards[-1].append((text[1:], offset + begin + 1, number))
    else:
        raise NetlistError(f"{file.path}, line {number}: a + must continue a card above it, found none")


def _without_comment(line: str) -> str:
    """A line without the comment at its end; ``$`` begins one where a blank or comma stands before it."""
    if line.startswith(("*", "$", ";", "//")):
        return ""
    ends = [at for mark in (";", "//", " $", ",$") if (at := line.find(mark)) >= 0]
    return line[: min(ends, default=len(line))].rstrip()


def _card(file: SourceFile, parts: list[tuple[str, int, int]]) -> Card:
    texts, pieces, at = [], [], 0
    for text, offset, number in parts:
        texts.append(text)
        pieces.append((at, offset, number))
        at += len(text) + 1
    card = Card(" ".join(texts), file, tuple(pieces))
    if len(card.text) > LONGEST_CARD:
        raise card.refuse(f"a card must be of at most {LONGEST_CARD} characters, found {len(card.text)}")
    return card
