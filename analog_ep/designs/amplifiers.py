"""Bidirectional amplifiers among the controlled sources of a design: they are what gives the circuit an energy.

A designer, and every netlist written here, makes one of an E that holds a node at a·u, a 0 V source that carries all
current from there to the output, and an F that draws k times this current from u.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from analog_ep.designs.assembly import Amplifier, Assembly, Branch, Recognised


@dataclass(frozen=True, eq=False)
class _Output:
    """One output: its E, 0 V source and F, with signed values."""

    input: str
    drive: Branch
    sense: Branch
    back: Branch
    gain: float
    feedback: float

    @property
    def driven(self) -> str:
        return self.sense.nodes[0]

    @property
    def output(self) -> str:
        return self.sense.nodes[1]


def recognised(assembly: Assembly, inputs: tuple[str, ...]) -> Recognised:
    """The amplifiers of a design; outputs with ±a and ±k from one node are one amplifier's.

    What is driven by an E must be touched by nothing but the 0 V source, whose current nothing but the F may use.
    Negative gains without a positive partner stay controlled sources.
    """
    waiting: dict[tuple[str, float, float], list[_Output]] = {}
    positive: list[_Output] = []
    for output in _outputs(assembly, inputs):
        if output.gain > 0 and output.feedback > 0:
            positive.append(output)
        elif output.gain < 0 and output.feedback < 0:
            waiting.setdefault((output.input, -output.gain, -output.feedback), []).append(output)
    found = Recognised()
    for output in positive:
        partners = waiting.get((output.input, output.gain, output.feedback))
        partner = partners.pop(0) if partners else None
        inverted = "" if partner is None else partner.output
        found.amplifiers.append(Amplifier(output.input, output.output, output.gain, output.feedback, inverted))
        for each in (output,) if partner is None else (output, partner):
            found.sources.add(each.sense.element.name)
            found.branches.update((id(each.drive), id(each.back)))
            found.same[each.driven] = each.output
    return found


def _outputs(assembly: Assembly, inputs: tuple[str, ...]) -> Iterator[_Output]:
    touched = _touched(assembly)
    drives = {node: branch for branch in assembly.voltage_controlled["e"] for node in branch.nodes[:2] if node != "0"}
    followers = assembly.current_controlled["f"] + assembly.current_controlled["h"]
    followed = Counter(source for _, source in followers)
    for back, name in assembly.current_controlled["f"]:
        sense = assembly.sources[name]
        drive = drives.get(sense.nodes[0])
        if drive is None or followed[name] > 1 or name in inputs or sense.value or name in assembly.inductors:
            continue
        driven, output = sense.nodes
        control, gain, feedback = _signed(drive, driven, back)
        # The E and the 0 V source are all that is there; the output may be anything but a source's.
        if gain and touched[driven] == 2 and output != "0":
            yield _Output(control, drive, sense, back, gain, feedback)


def _signed(drive: Branch, driven: str, back: Branch) -> tuple[str, float, float]:
    """The controlling node, gain and feedback; zeros where the E and the F do not belong to one node against ground."""
    control, reference = drive.nodes[2:]
    gain = drive.value * _sense(drive.nodes[:2], driven)
    if control == "0":
        control, reference, gain = reference, control, -gain
    feedback = back.value * _sense(back.nodes, control)
    alone = reference == "0" and control != "0"
    return (control, gain, feedback) if alone and gain and feedback else (control, 0.0, 0.0)


def _sense(nodes: tuple[str, ...], node: str) -> int:
    """1 from a node to ground, -1 from ground to it, 0 otherwise."""
    return 1 if nodes == (node, "0") else -1 if nodes == ("0", node) else 0


def _touched(assembly: Assembly) -> Counter[str]:
    """How often the ends and controls of elements stand at each node."""
    branches = [*assembly.resistors, *assembly.capacitors, *assembly.sources.values(), *assembly.currents]
    branches += [branch for group in assembly.voltage_controlled.values() for branch in group]
    branches += [branch for group in assembly.current_controlled.values() for branch, _ in group]
    count = Counter(node for branch in branches for node in branch.nodes)
    count.update(node for _, anode, cathode, _ in assembly.diodes for node in (anode, cathode))
    for _, first, second, formed in assembly.expressions:
        count.update((first, second, *(node for pair in formed.controls for node in pair)))
    return count
