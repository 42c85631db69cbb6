"""What every deck holds between its header and its analysis: settings, libraries, elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from analog_ep.circuit import GROUND, Branches, Circuit, VoltageLaw
from analog_ep.errors import NodeNameError
from analog_ep.netlist.dialects import Dialect
from analog_ep.netlist.netlist import NetlistWriter, SpiceOptions, constant_drive
from analog_ep.netlist.subcircuits import SubcircuitWriter
from analog_ep.support.resources import netlists_folder

LARGE = 20_000
"""Branches beyond which ngspice's decks ask for KLU: on 44,000 nodes of wires it takes 2 s, and Sparse 1.3 80 s."""


class DeckSections:
    """Writes the sections of one circuit's deck.

    Parameters
    ----------
    circuit : Circuit
        What the deck holds.
    sample : ndarray (n_inputs,)
        Values of its inputs. [V]
    options : SpiceOptions, optional
        Tolerances.
    dialect : Dialect
        The simulator's.

    Attributes
    ----------
    writer : NetlistWriter
        Of the whole circuit.
    """

    def __init__(self, circuit: Circuit, sample: np.ndarray, options: SpiceOptions | None, dialect: Dialect):
        self.circuit, self.sample, self.dialect = circuit, sample, dialect
        self.writer = NetlistWriter(circuit, constant_drive(sample), options, dialect)
        self._subcircuits = SubcircuitWriter(circuit)
        # Models of the diodes that the library holds would stand in the deck unused.
        flat = circuit.with_groups(group for group in circuit.groups if not self._is_instance(group))
        options = replace(self.writer.options, gmin=self.writer.gmin)
        self._flat = NetlistWriter(flat, constant_drive(sample), options, dialect)

    def _is_instance(self, group: Branches) -> bool:
        return self.dialect.has_library and self._subcircuits.writes(group)

    def settings(self) -> Iterator[str]:
        """Digits to print, tolerances and temperatures, and of a large circuit the faster solver."""
        yield from self.dialect.print_settings()
        yield self.writer.options_card()
        analyses = self.dialect.analyses
        if analyses is not None and analyses.fast_solver and self.circuit.n_branches > LARGE:
            # KLU looks for each column's row in the order of the nodes: see `analog_ep.ngspice.sweep`.
            title = "KLU, in an ngspice that has it; sources of 0 A name first what amplifiers and other sources hold"
            first = self.dialect.elements("i_first_", ((name, "0", "0") for name in self._held_by_others()))
            yield from self.section(title, [*analyses.fast_solver, *first])

    def _held_by_others(self) -> list[str]:
        """Nodes of sources that other voltages or currents control."""
        rows = [group.rows() for group in self.circuit.of_kind(VoltageLaw)]
        held = [node for row in rows if not row.is_independent for node in (*row.positive, *row.negative)]
        return [self.circuit.node_names[node] for node in dict.fromkeys(held) if node != GROUND]

    def libraries(self, include_from: str | None, more: Mapping[str, set[str]] | None = None) -> Iterator[str]:
        """Subcircuits that the elements need, and `more` by file: written out, or included from a folder."""
        if not self.dialect.has_library:
            return
        for file, used in {**self._subcircuits.libraries(), **(more or {})}.items():
            yield ""
            if include_from is None:
                yield _used_part((netlists_folder() / file).read_text(encoding="ascii"), used)
            else:
                yield f".include {_folder(include_from)}{file}"

    def elements(self, instead: Mapping[str, list[str]] | None = None) -> Iterator[str]:
        """Models, and a section a group; `instead` has cards for groups that are not written as usual, by label."""
        instead = instead or {}
        if models := self._flat.model_cards():
            yield from self.section("models", models)
        for group in self.circuit.groups:
            writer = self._subcircuits if self._is_instance(group) else self._flat
            cards = instead[group.label] if group.label in instead else list(writer.group_cards(group))
            yield from self.section(_describe(group, cards), cards)

    def driven_sources(
        self, samples: np.ndarray, source: Callable[[str, tuple[str, str], np.ndarray], str]
    ) -> dict[str, list[str]]:
        """Cards of the independent sources, by label; `source` writes one by name, ends and values over the samples."""
        names, cards = self.circuit.node_names, {}
        for group in self.circuit.of_kind(VoltageLaw):
            rows = group.rows()
            if rows.is_source:
                ends = [(names[p], names[n]) for p, n in zip(rows.positive, rows.negative, strict=True)]
                values = rows.values(samples).T
                cards[group.label] = [
                    source(self.writer.element_name(group, i), *each)
                    for i, each in enumerate(zip(ends, values, strict=True))
                ]
        return cards

    def section(self, title: str, cards: Iterable[str]) -> Iterator[str]:
        """Cards under a comment."""
        yield ""
        yield self.dialect.comment(title)
        yield from cards


def nodes_to_store(circuit: Circuit, held: np.ndarray) -> list[int]:
    """Nodes of trainable elements and outputs that no source holds: the voltages that learning compares."""
    assert circuit.outputs is not None
    ends = [nodes for group in circuit.trainable_groups() for nodes in (group.positive, group.negative)]
    return [int(node) for node in np.unique(np.concatenate([*ends, *circuit.outputs])) if not held[node]]


def _used_part(library: str, used: set[str]) -> str:
    """Head of a library and the subcircuits named in `used`; blank lines separate them in the file."""
    head, *subcircuits = library.strip().split("\n\n")
    return "\n\n".join([head, *(text for text in subcircuits if used & set(text.split()))])


def _describe(group: Branches, cards: list[str]) -> str:
    kind = "".join(f" {c.lower()}" if c.isupper() else c for c in type(group).__name__).strip()
    elsewhere = ", each part of the other side's clamp_between" if len(group) and not cards else ""
    return f"{group.label}: {len(group)} {kind if len(group) != 1 else kind.removesuffix('s')}{elsewhere}"


def _folder(folder: str) -> str:
    if not all(c.isascii() and (c.isalnum() or c in "/._-") for c in folder):
        raise NodeNameError(f"include_from may hold letters, digits and /._- only, found {folder!r}; use a plain path")
    return folder if folder.endswith("/") or not folder else f"{folder}/"
