"""Layered networks as a diagram, SVG: what drives what, how many cells and nodes, which diodes and amplifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from analog_ep.networks.network import CrossbarNetwork, HardwareNetwork, Network, Question, UnitNetwork
from analog_ep.support.si import si

_HEIGHT, _MIDDLE, _CAPTION = 236, 84, 176
"""Of the drawing, of its axis, and of the first line of the captions. [px]"""

_SHOWN = 4
"""Nodes of a layer, and rows and columns of a crossbar, that are drawn; the others are dots."""


@dataclass(frozen=True)
class _Block:
    """A part of the chain.

    Attributes
    ----------
    width : int
        [px]
    drawing : str
        SVG about the origin of its middle.
    caption : sequence of str
        Lines below it.
    """

    width: int
    drawing: str
    caption: Sequence[str]


def network_svg(network: Network) -> str:
    """The diagram of a layered network as SVG; "" for one without layers.

    Parameters
    ----------
    network : Network
        Of any kind.
    """
    return network.answer(_Diagram())


class _Diagram(Question[str]):
    def network(self, network: Network) -> str:
        return ""

    def circuit(self, network: HardwareNetwork) -> str:
        return ""

    def crossbars(self, network: CrossbarNetwork) -> str:
        return _chain(_crossbar_blocks(network), _described(network))

    def units(self, network: UnitNetwork) -> str:
        return _chain(_unit_blocks(network), _described(network))


def network_html(network: Network) -> str:
    """Kind and sizes of a network, and its diagram, as notebooks show them."""
    return f"<p>{escape(_described(network))}</p>{network_svg(network)}"


def _described(network: Network) -> str:
    sizes = "-".join(map(str, network.sizes))
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{type(network).__name__} {sizes}: {count:,} parameters, {network.precision().dtype}".replace("torch.", "")


def _crossbar_blocks(network: CrossbarNetwork) -> list[_Block]:
    low, high = network.conductance_range
    blocks = [_Block(90, _nodes(network.sizes[0], "#345995"), [f"{network.sizes[0]} inputs", "sources ±x"])]
    held = dict(zip(network.clamped_layers, network.clamps, strict=True))
    for s, layout in enumerate(network.layouts):
        if s and not layout.passive:
            sign = "±" if layout.differential else ""
            words = ["amplifiers", f"drive {sign}a·u, a = {network.gain:g}", f"feedback k = {network.feedback:.3g}"]
            blocks.append(_Block(120, _amplifier(), words))
        words = [layout.label, f"{layout.n_rows} × {layout.n_out} cells", f"{si(low, 'S')} … {si(high, 'S')}"]
        if layout.biased:
            words.append(f"bias rows ±{si(network.bias_voltage or 0.0, 'V')}")
        if not network.lines.ideal:
            words.append("lines with resistance")
        blocks.append(_Block(150, _crossbar(), words))
        if s + 1 < network.n_stages:
            clamp, size = held.get(s + 1), network.sizes[s + 1]
            sides = [] if clamp is None else clamp.sides() if clamp.has_current else [(1.0, 0.0, clamp)]
            diodes = sorted({type(diode).__name__ for _, _, diode in sides})
            words = [f"layer h{s + 1}", f"{size} nodes", *(["clamped by", *diodes] if diodes else ["without diodes"])]
            blocks.append(_Block(140, _nodes(size, "#b5482f", clamped=bool(diodes)), words))
    outputs = network.sizes[-1]
    blocks.append(_Block(120, _nodes(2 * outputs, "#2f7d4f"), [f"{outputs} outputs", "o = v₊ − v₋"]))
    return blocks


def _unit_blocks(network: UnitNetwork) -> list[_Block]:
    blocks = [_Block(90, _nodes(network.sizes[0], "#345995"), [f"{network.sizes[0]} inputs", "held"])]
    for s, weight in enumerate(network.weights):
        last = s + 1 == network.n_stages
        words = [f"weights W{s + 1}", f"{weight.shape[0]} × {weight.shape[1]}", "both ways" if s else "one way"]
        blocks.append(_Block(150, _crossbar(), words))
        name = "outputs" if last else f"layer h{s + 1}"
        words = [name, f"{network.sizes[s + 1]} leaky integrators", f"rate ρ: {type(network.activation).__name__}"]
        blocks.append(_Block(160, _nodes(network.sizes[s + 1], "#2f7d4f" if last else "#b5482f"), words))
    return blocks


def _chain(blocks: Sequence[_Block], title: str) -> str:
    """The blocks beside each other, joined by lines."""
    width = sum(block.width for block in blocks)
    parts, left = [], 0
    for number, block in enumerate(blocks):
        middle = left + block.width // 2
        if number:
            parts.append(f'<path d="M{left - 16} {_MIDDLE}h32" stroke="#888" stroke-width="2" fill="none"/>')
        parts.append(f'<g transform="translate({middle} {_MIDDLE})">{block.drawing}</g>')
        for line, words in enumerate(block.caption):
            weight = ' font-weight="bold"' if line == 0 else ""
            parts.append(f'<text x="{middle}" y="{_CAPTION + 14 * line}"{weight}>{escape(words)}</text>')
        left += block.width
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {_HEIGHT}" '
        f'style="width:100%;max-width:{width}px;min-width:{min(width, 560)}px;height:auto" '
        f'font-family="sans-serif" font-size="11" text-anchor="middle">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _nodes(count: int, color: str, clamped: bool = False) -> str:
    """A column of nodes, dots where there are more, each with a diode where the layer is clamped."""
    shown = min(count, _SHOWN)
    parts = []
    for i in range(shown):
        y = (i - (shown - 1) / 2) * 26 - (6 if count > shown else 0)
        parts.append(f'<circle cy="{y:g}" r="6" fill="{color}"/>')
        if clamped:
            turned = f' transform="translate(0 {2 * y:g}) scale(1 -1)"' if i % 2 else ""
            parts.append(
                f'<g stroke="{color}" fill="none"{turned}><path d="M7 {y:g}h12v3"/>'
                f'<path d="M14 {y + 3:g}h10l-5 7zM14 {y + 10:g}h10M19 {y + 10:g}v3"/></g>'
            )
    if count > shown:
        parts.append(f'<text y="{shown * 13 + 8}" fill="{color}" font-size="16">⋮</text>')
    return "".join(parts)


def _crossbar() -> str:
    """Lines that cross, with a conductance at each crossing."""
    ticks = [-45 + 30 * i for i in range(_SHOWN)]
    lines = "".join(f"M-56 {t}H56M{t} -56V56" for t in ticks)
    cells = "".join(
        f'<rect x="{x - 4}" y="{y - 4}" width="8" height="8" fill="#fff" stroke="#555"/>' for x in ticks for y in ticks
    )
    return f'<path d="{lines}" stroke="#999" fill="none"/>{cells}'


def _amplifier() -> str:
    """A triangle forward, and an arrow back for the current that is fed back."""
    return (
        '<path d="M-22 -26L26 0L-22 26Z" fill="#eef3fb" stroke="#345995" stroke-width="1.5"/>'
        '<text x="-8" y="5" font-size="13">a</text>'
        '<path d="M30 42H-26M-18 37l-8 5l8 5" fill="none" stroke="#345995"/><text x="2" y="58">k</text>'
    )
