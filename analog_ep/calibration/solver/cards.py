"""Model cards of vendors: what they hold, and what ngspice is given of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from analog_ep.calibration.solver.lines import Line
from analog_ep.errors import DataError

WITHOUT_MEANING = frozenset(["mfg", "type", "iave", "vpk", "irms", "ipk", "diss", "vp", "vceo", "icrating"])
"""Keys that LTspice's libraries have and that do not touch the current at rest: makers, ratings, soft recovery."""

_OPENING, _CLOSING, _QUOTES = "{(", "})", "'\""


def parts_of(text: str) -> list[str]:
    """Words of a card at blanks and commas, with ``=`` a word of its own; braces, parentheses and quotes hold
    together.
    """
    words, word, depth, quote = [], [], 0, ""

    def close() -> None:
        if word:
            words.append("".join(word))
            word.clear()

    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif depth <= 0 and character in " ,=":
            close()
            if character == "=":
                words.append("=")
            continue
        word.append(character)
    close()
    return words


def assignments(words: list[str]) -> dict[str, str]:
    """Values by key, in lower case, of words such as ``key = value``; other words are left out."""
    return {words[i - 1].lower(): words[i + 1] for i in range(1, len(words) - 1) if words[i] == "="}


def model_parts(line: Line) -> tuple[str, str, dict[str, str]]:
    """Name, type and parameters of a ``.model``; all but the values in lower case.

    Of a model that is ``AKO:BASE`` the type begins so.
    """
    text = line.text.split(" ", 1)[1] if " " in line.text else ""
    name, _, rest = text.partition(" ")
    head, parenthesis, inner = rest.partition("(")
    if parenthesis and "=" not in head:
        rest = f"{head} {inner.rstrip().removesuffix(')')}"
    words = parts_of(rest)
    # With a blank after the colon it is two words.
    if len(words) > 1 and words[0].lower() == "ako:":
        words[:2] = [words[0] + words[1]]
    kind = words[0].lower() if words else ""
    if kind.startswith("ako:"):
        base = kind
        kind = f"{base} {words[1].lower()}" if len(words) > 1 and words[1] != "=" and words[2:3] != ["="] else base
    return name.lower(), kind, assignments(words)


def plain_model(line: Line, models: Mapping[str, Line]) -> tuple[Line, list[str]]:
    """A ``.model`` without keys of no electrical meaning and with what it takes of another, and the keys left out.

    Parameters
    ----------
    line : Line
        The card.
    models : mapping of str to Line
        Those that it may be a kind of (AKO), by name.

    Raises
    ------
    DataError
        If it is a kind of a model that is not there, or of itself.
    """
    name, kind, own = model_parts(line)
    seen = {name}
    while kind.startswith("ako:"):
        base = kind[4:].split(" ")[0]
        if base not in models or base in seen:
            found = "one that the file does not define" if base not in models else "itself"
            raise DataError(f"{line.place}: the model {name} must be a kind of another, found {base!r}, {found}")
        seen.add(base)
        _, kind, inherited = model_parts(models[base])
        own = {**inherited, **own}
    dropped = [key for key in own if key in WITHOUT_MEANING]
    if not dropped and len(seen) == 1:
        return line, []
    parameters = " ".join(f"{key}={value}" for key, value in own.items() if key not in WITHOUT_MEANING)
    return replace(line, text=f".model {name} {kind}({parameters})"), dropped
