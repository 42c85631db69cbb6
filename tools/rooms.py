"""Draws the rooms of the package and how they import each other, from the code itself.

python tools/rooms.py docs/images/rooms.png

A room stands above all that it imports. Arrows that follow from others are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from structure import imports, trees

_EVERYWHERE = {"errors", "constants", "support"}
"""Rooms that nearly all others import: named at the foot, without arrows."""


def rooms() -> dict[str, set[str]]:
    """Rooms that each room imports at run time."""
    found: dict[str, set[str]] = {}
    for module, others in imports().items():
        room = _room(module)
        if room:
            found.setdefault(room, set()).update(filter(None, map(_room, others)))
    return {room: others - {room} - _EVERYWHERE for room, others in found.items() if room not in _EVERYWHERE}


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and not parts[1].startswith("__") else ""


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """Floor of each room: one above the highest that it imports."""
    found: dict[str, int] = {}

    def floor(room: str, above: tuple[str, ...] = ()) -> int:
        if room in above:
            raise SystemExit(f"rooms import each other in a circle: {' -> '.join((*above, room))}")
        if room not in found:
            found[room] = 1 + max((floor(other, (*above, room)) for other in graph[room]), default=-1)
        return found[room]

    for room in graph:
        floor(room)
    return found


def without_shortcuts(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that do not follow from others."""

    def below(room: str) -> set[str]:
        return graph[room].union(*(below(other) for other in graph[room])) if graph[room] else set()

    return {room: {o for o in others if all(o not in below(p) for p in others)} for room, others in graph.items()}


def draw(path: Path) -> None:
    """Draw the rooms."""
    graph = rooms()
    level = floors(graph)
    lines = dict.fromkeys(graph, 0)
    for module, tree in trees().items():
        if _room(module) in lines:
            lines[_room(module)] += max((getattr(node, "end_lineno", 0) or 0 for node in ast_body(tree)), default=0)
    rows: dict[int, list[str]] = {}
    for room in sorted(graph, key=lambda r: (level[r], r)):
        rows.setdefault(level[room], []).append(room)
    figure, axes = plt.subplots(figsize=(10, 0.85 * (len(rows) + 1)))
    place = {room: ((i + 0.5) / len(row), floor) for floor, row in rows.items() for i, room in enumerate(row)}
    for room, others in without_shortcuts(graph).items():
        for other in others:
            _arrow(axes, place[room], place[other])
    for room, (x, y) in place.items():
        _box(axes, x, y, room, lines[room])
    axes.text(
        0.5, -0.75, f"used everywhere: {', '.join(sorted(_EVERYWHERE))}", ha="center", fontsize=9, color="#555555"
    )
    axes.set(xlim=(0, 1), ylim=(-1, len(rows) - 0.4))
    axes.axis("off")
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})


def ast_body(tree) -> list:
    """Statements of a module."""
    return tree.body


def _box(axes: Axes, x: float, y: float, room: str, lines: int) -> None:
    style = "round,pad=0.01,rounding_size=0.015"
    axes.add_patch(
        FancyBboxPatch((x - 0.065, y - 0.24), 0.13, 0.48, boxstyle=style, fc="#eef3fb", ec="#345995", lw=1, zorder=3)
    )
    axes.text(x, y + 0.06, room, ha="center", va="center", fontsize=10, zorder=4)
    axes.text(x, y - 0.15, f"{lines:,} lines", ha="center", va="center", fontsize=7, color="#555555", zorder=4)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x, y), (u, v) = start, end
    shape = "arc3,rad=0.06" if y - v > 1 else "arc3,rad=0"
    axes.add_patch(
        FancyArrowPatch(
            (x, y - 0.25),
            (u, v + 0.27),
            arrowstyle="-|>",
            mutation_scale=9,
            lw=0.8,
            color="#8a8a8a",
            connectionstyle=shape,
        )
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("one argument: the picture to write")
    draw(Path(sys.argv[1]))
