"""Parts of a design that read a circuit and act on nothing that counts, such as sources that print its energy.

They have no effect on the outputs, but would leave the circuit without an energy, and a solver with more to find.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from analog_ep.designs.assembly import Assembly, Branch


@dataclass(frozen=True)
class _Part:
    """An element by its identity: the nodes that it joins, and those whose voltages or currents control it."""

    key: int
    name: str
    ends: tuple[str, ...]
    controls: tuple[str, ...] = ()


def without_observers(assembly: Assembly, counts: Iterable[str]) -> Assembly:
    """What acts on given nodes; all of it where none are given.

    Nodes that elements join are one block. Left out are blocks from which no chain of controlled sources leads to a
    block that counts, if they have controlled sources or control one; a note of the assembly tells it.

    Parameters
    ----------
    assembly : Assembly
        What was read; it is not changed.
    counts : iterable of str
        Nodes of the outputs, of the inputs and of what learns.
    """
    wanted = [node for node in counts if node != "0"]
    if not wanted:
        return assembly
    parts = list(_parts(assembly))
    block = _blocks(parts)
    acts_on: dict[str, set[str]] = {}
    related: set[str] = set()
    for part in parts:
        here = block.get(part.ends[0], "")
        for control in part.controls:
            acts_on.setdefault(here, set()).add(block.get(control, ""))
            related |= {here, block.get(control, "")}
    kept, waiting = set(), [block[node] for node in wanted if node in block]
    while waiting:
        here = waiting.pop()
        if here not in kept:
            kept.add(here)
            waiting += acts_on.get(here, ())
    out = [part for part in parts if (b := block.get(part.ends[0], "")) and b in related and b not in kept]
    return _left(assembly, out) if out else assembly


def _left(assembly: Assembly, out: list[_Part]) -> Assembly:
    keys, nodes = {part.key for part in out}, {node for part in out for node in part.ends} - {"0"}
    named = f"{len(out)} elements act on no output and are left out, such as {out[0].name}"
    return replace(
        assembly,
        resistors=[b for b in assembly.resistors if id(b) not in keys],
        capacitors=[b for b in assembly.capacitors if id(b) not in keys],
        sources={name: b for name, b in assembly.sources.items() if id(b) not in keys},
        currents=[b for b in assembly.currents if id(b) not in keys],
        voltage_controlled={k: [b for b in v if id(b) not in keys] for k, v in assembly.voltage_controlled.items()},
        current_controlled={k: [p for p in v if id(p[0]) not in keys] for k, v in assembly.current_controlled.items()},
        diodes=[row for row in assembly.diodes if id(row) not in keys],
        expressions=[row for row in assembly.expressions if id(row) not in keys],
        notes=[*assembly.notes, named],
        first_use={node: element for node, element in assembly.first_use.items() if node not in nodes},
    )


def _parts(assembly: Assembly) -> Iterator[_Part]:
    def plain(branch: Branch, controls: tuple[str, ...] = ()) -> _Part:
        ends = branch.nodes[:2]
        # The end that is not ground comes first.
        return _Part(id(branch), branch.element.name, ends if ends[0] != "0" else ends[::-1], controls)

    for branches in (assembly.resistors, assembly.capacitors, assembly.sources.values(), assembly.currents):
        yield from map(plain, branches)
    for branches in assembly.voltage_controlled.values():
        yield from (plain(branch, branch.nodes[2:]) for branch in branches)
    for pairs in assembly.current_controlled.values():
        yield from (plain(branch, assembly.sources[name].nodes[:2]) for branch, name in pairs)
    for row in assembly.diodes:
        yield _Part(id(row), row[0].name, row[1:3] if row[1] != "0" else (row[2], row[1]))
    for row in assembly.expressions:
        controls = tuple(node for pair in row[3].controls for node in pair)
        yield _Part(id(row), row[0].name, row[1:3] if row[1] != "0" else (row[2], row[1]), controls)


def _blocks(parts: list[_Part]) -> dict[str, str]:
    """A node that stands for the block, of every node but ground."""
    above: dict[str, str] = {}

    def top(node: str) -> str:
        while (parent := above.setdefault(node, node)) != node:
            above[node] = above[parent]
            node = parent
        return node

    for part in parts:
        first, *others = (node for node in part.ends if node != "0") if set(part.ends) != {"0"} else ("",)
        for other in others:
            above[top(other)] = top(first)
        if first:
            top(first)
    return {node: top(node) for node in list(above)}
