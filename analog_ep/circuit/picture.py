"""Small circuits as a drawing, SVG: named nodes, and every element with its symbol and value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from analog_ep.circuit.laws import Branches
from analog_ep.errors import CircuitError
from analog_ep.support.shown import Drawing
from analog_ep.support.si import si

MOST_ELEMENTS = 60
"""Elements that a drawing without places shows at most: more cannot be told apart."""

_ACROSS, _DOWN, _EDGE, _STUB = 190, 150, 70, 62
"""Distances of columns and of rows, of both from the edge, and of ground from its node. [px]"""

_SYMBOLS = {
    "resistor": "M-16 0l3 -6l5 12l5 -12l5 12l5 -12l5 12l3 -6",
    "diode": "M-9 -8V8L9 0ZM9 -8V8",
    "inductor": "M-16 0a4 4 0 0 1 8 0a4 4 0 0 1 8 0a4 4 0 0 1 8 0a4 4 0 0 1 8 0",
    "capacitor": "M-4 -10V10M4 -10V10",
    "source": "M-13 0a13 13 0 1 0 26 0a13 13 0 1 0 -26 0M-9 0h6M3 0h6M-6 -3v6",
    "current source": "M-13 0a13 13 0 1 0 26 0a13 13 0 1 0 -26 0M-8 0h15m-5 -4l5 4l-5 4",
    "box": "M-13 -9h26v18h-26z",
}
"""Each along the x axis, about the origin; the first terminal is on the left."""

_REACH = {"resistor": 16, "inductor": 16, "diode": 9, "capacitor": 4}
"""Half the length of a symbol; 13 of the others."""


@dataclass(frozen=True)
class _Element:
    """One element.

    Attributes
    ----------
    nodes : tuple of int
        Its terminals; the first two carry its current.
    symbol, text : str
        What is drawn, and its name and value.
    """

    nodes: tuple[int, ...]
    symbol: str
    text: str


def circuit_drawing(
    title: str,
    names: Sequence[str],
    groups: Sequence[Branches],
    places: Mapping[str, tuple[float, float]] | None = None,
) -> Drawing:
    """Draw nodes and elements.

    Parameters
    ----------
    title : str
        Of the circuit.
    names : sequence of str
        Of its nodes, ground first.
    groups : sequence of Branches
        Its elements.
    places : mapping of str to (float, float), optional
        Column and row of every node but ground, from the upper left; without them the drawing finds some.

    Raises
    ------
    CircuitError
        If there are more than `MOST_ELEMENTS` and no places, or a node has none.
    """
    count = sum(map(len, groups))
    if count > MOST_ELEMENTS and places is None:
        raise CircuitError(
            f"a drawing without places shows {MOST_ELEMENTS} elements at most, found {count} in {title!r}; give "
            "places, a column and a row for each node, or draw a layered network by network_svg"
        )
    elements = [element for group in groups for element in _elements(group)]
    place = _places(len(names), elements) if places is None else _given(names, places)
    width = int(max((x for x, _ in place.values()), default=0) + _EDGE + 60)
    height = int(max((y for _, y in place.values()), default=0) + _EDGE + _STUB)
    parts = [*_between(elements, place), *_to_ground(elements, place)]
    for node, (x, y) in place.items():
        parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="4" fill="#26538d"/>')
        parts.append(
            f'<text x="{x - 8:g}" y="{y - 8:g}" text-anchor="end" fill="#26538d" font-weight="bold">'
            f"{escape(names[node])}</text>"
        )
    return Drawing(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" '
        f'style="max-width:100%;height:auto;background:#fff" font-family="sans-serif" font-size="11">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _elements(group: Branches) -> list[_Element]:
    symbol = getattr(group, "symbol", "box")
    field, unit = getattr(group, "shown", ("", ""))
    values = [si(float(value), unit) for value in getattr(group, field)] if field else [""] * len(group)
    names = [group.label] if len(group) == 1 else [f"{group.label}[{i}]" for i in range(len(group))]
    nodes = np.array([getattr(group, name) for name in group.terminals]).T.tolist()
    return [
        _Element(tuple(each), symbol if symbol in _SYMBOLS else "box", f"{name} {value}".strip())
        for each, name, value in zip(nodes, names, values, strict=True)
    ]


def _given(names: Sequence[str], places: Mapping[str, tuple[float, float]]) -> dict[int, tuple[float, float]]:
    missing = [name for name in names[1:] if name not in places]
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise CircuitError(f"places must have every node but ground, found none for {shown}; give each (column, row)")
    left, top = (min(places[name][axis] for name in names[1:]) for axis in (0, 1))
    return {
        node: (_EDGE + (places[name][0] - left) * _ACROSS, _EDGE + (places[name][1] - top) * _DOWN)
        for node, name in enumerate(names[1:], start=1)
    }


def _places(n_nodes: int, elements: Sequence[_Element]) -> dict[int, tuple[float, float]]:
    """Columns by the distance from what sources hold, rows by the mean row of the neighbours before."""
    near: dict[int, set[int]] = {node: set() for node in range(1, n_nodes)}
    for element in elements:
        live = [node for node in element.nodes if node > 0]
        for node in live:
            near[node].update(other for other in live if other != node)
    held = sorted({node for e in elements if "source" in e.symbol for node in e.nodes if node > 0})
    depth: dict[int, int] = {}
    for begin in (held or list(near)[:1], list(near)):
        front = [node for node in begin if node not in depth]
        # A part that no source touches begins a column of its own.
        if begin is not held and front:
            front = front[: len(front) if not depth else 1]
        depth.update(dict.fromkeys(front, 0))
        while front:
            found = dict.fromkeys(o for node in front for o in sorted(near[node]) if o not in depth)
            level = 1 + max(depth[node] for node in front)
            depth.update(dict.fromkeys(found, level))
            front = list(found)
    for node in near:
        depth.setdefault(node, 0)
    columns: dict[int, list[int]] = {}
    for node in sorted(near, key=lambda n: (depth[n], n)):
        columns.setdefault(depth[node], []).append(node)
    tallest = max(map(len, columns.values()), default=1)
    place: dict[int, tuple[float, float]] = {}
    for column, nodes in sorted(columns.items()):
        nodes = sorted(nodes, key=lambda n: (_mean_row(n, near, place), n))
        for row, node in enumerate(nodes):
            y = (row + (tallest - len(nodes)) / 2) * _DOWN
            place[node] = _EDGE + column * _ACROSS, _EDGE + y
    return place


def _mean_row(node: int, near: dict[int, set[int]], place: dict[int, tuple[float, float]]) -> float:
    known = [place[other][1] for other in near[node] if other in place]
    return sum(known) / len(known) if known else 0.0


def _between(elements: Sequence[_Element], place: dict[int, tuple[float, float]]) -> list[str]:
    """Elements whose terminals are not on ground; those beside each other are bent apart."""
    parts: list[str] = []
    beside: dict[frozenset[int], int] = {}
    for element in elements:
        first, second, *others = element.nodes
        if 0 in (first, second):
            continue
        pair = frozenset((first, second))
        number = beside[pair] = beside.get(pair, 0) + 1
        (x1, y1), (x2, y2) = place[first], place[second]
        shift = (number // 2) * 36 * (1 if number % 2 else -1)
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        # Lines that cross do so in the middle: symbols on them stand nearer to one end.
        along = 0.5 if y1 == y2 else 0.36
        middle = (
            x1 + along * (x2 - x1) - shift * (y2 - y1) / length,
            y1 + along * (y2 - y1) + shift * (x2 - x1) / length,
        )
        parts.append(_symbol(element, middle, math.degrees(math.atan2(y2 - y1, x2 - x1)), (x1, y1), (x2, y2)))
        parts += _controls(others, middle, place)
    return parts


def _to_ground(elements: Sequence[_Element], place: dict[int, tuple[float, float]]) -> list[str]:
    """Elements between a node and ground hang below the node, beside each other."""
    parts: list[str] = []
    hanging: dict[int, list[_Element]] = {}
    for element in elements:
        first, second = element.nodes[:2]
        if 0 in (first, second) and max(first, second) > 0:
            hanging.setdefault(max(first, second), []).append(element)
    below = _with_one_below(elements, place)
    for node, own in hanging.items():
        x, y = place[node]
        aside = 34 + (len(own) - 1) * 17 if node in below else 0
        for number, element in enumerate(own):
            at = x - aside + (number - (len(own) - 1) / 2) * 34
            middle, foot = (at, y + 34 + 12 * (number % 2)), (at, y + _STUB + 12 * (number % 2))
            turned = 90.0 if element.nodes[1] == 0 else -90.0
            top, bottom = ((x, y), foot) if turned > 0 else (foot, (x, y))
            parts.append(_symbol(element, middle, turned, top, bottom))
            parts.append(f'<path d="M{at - 8:g} {foot[1]:g}h16M{at - 5:g} {foot[1] + 3:g}h10" stroke="#444"/>')
            parts += _controls(element.nodes[2:], middle, place)
    return parts


def _with_one_below(elements: Sequence[_Element], place: dict[int, tuple[float, float]]) -> set[int]:
    """Nodes from which an element leads straight down."""
    pairs = [(place[a], place[b], a, b) for a, b, *_ in (each.nodes for each in elements) if min(a, b) > 0]
    return {(a if ya < yb else b) for (xa, ya), (xb, yb), a, b in pairs if xa == xb and ya != yb}


def _symbol(
    element: _Element,
    middle: tuple[float, float],
    degrees: float,
    start: tuple[float, float],
    end: tuple[float, float],
) -> str:
    x, y = middle
    reach = _REACH.get(element.symbol, 13)
    dx, dy = reach * math.cos(math.radians(degrees)), reach * math.sin(math.radians(degrees))
    upright = abs(degrees) == 90.0
    beside = f'x="{x + 11:g}" y="{y + 4:g}"' if upright else f'x="{x:g}" y="{y - 13:g}" text-anchor="middle"'
    return (
        f'<g fill="none" stroke="#444" stroke-width="1.2"><path d="M{start[0]:g} {start[1]:g}L{x - dx:.1f} {y - dy:.1f}'
        f'M{x + dx:.1f} {y + dy:.1f}L{end[0]:g} {end[1]:g}"/>'
        f'<path transform="translate({x:g} {y:g}) rotate({degrees:.1f})" d="{_SYMBOLS[element.symbol]}"/></g>'
        f'<text {beside} fill="#222" stroke="#fff" stroke-width="3" paint-order="stroke">{escape(element.text)}</text>'
    )


def _controls(nodes: Sequence[int], middle: tuple[float, float], place: dict[int, tuple[float, float]]) -> list[str]:
    """Dashed lines to the nodes that only control an element."""
    return [
        f'<path d="M{middle[0]:g} {middle[1]:g}L{place[node][0]:g} {place[node][1]:g}" stroke="#a33" '
        f'stroke-dasharray="3 3" fill="none"/>'
        for node in nodes
        if node > 0
    ]
