"""Languages in which an instance names its master, its nodes in parentheses: Spectre's and those like it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from analog_ep.netlist.dialects.dialect import FORMS, Dialect


class MasterLanguage(Dialect):
    """``name (nodes) master parameter=value``; case counts, and comments begin with //."""

    comment_mark = "//"
    forms = FORMS
    rounds_constants = False
    analyses = None
    sweeps = None
    transients = None
    has_library = False
    cuts_headings = False

    masters: ClassVar[dict[str, str]]
    """Master and parameters by SPICE's instance letter, with braces for the values."""

    def print_settings(self) -> list[str]:
        return []

    def instance(self, name: str, nodes: Sequence[str], model: str, parameters: dict[str, str]) -> str:
        texts = (f"{self.parameter_name(key.lower())}={value}" for key, value in parameters.items())
        return self.placed(name, nodes, " ".join([model, *texts]))

    def parameter_name(self, word: str) -> str:
        """The language's word for a parameter of an instance."""
        return word

    def element(self, name: str, nodes: Sequence[str], value: str) -> str:
        return self.placed(name, nodes, self.masters[name[0]].format(value))

    def elements(self, stem: str, rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
        return (self.element(f"{stem}{i}", nodes, value) for i, (*nodes, value) in enumerate(rows))

    def current_controlled(self, name: str, nodes: Sequence[str], source: str, gain: str) -> str:
        return self.placed(name, nodes, self.masters[name[0]].format(source, gain))

    def end(self) -> str:
        return self.comment("end")

    def placed(self, name: str, nodes: Sequence[str], master: str) -> str:
        """An instance with its nodes."""
        return f"{name} ({' '.join(nodes)}) {master}"
