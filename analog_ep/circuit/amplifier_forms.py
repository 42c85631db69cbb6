"""Bidirectional amplifiers as linear elements, and as instances of the library's subcircuits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analog_ep.circuit.nodes import GROUND
from analog_ep.devices.forms import Assembly, Part
from analog_ep.devices.library import LibraryForm, LibraryInstance


def amplifier_assembly(*columns: Sequence[Any]) -> Assembly:
    """For each output a gain, a 0 V ammeter for the current that leaves it, and what it draws from the input.

    Parameters
    ----------
    columns : sequences
        Input, output, inverted output (negative for none), gain, feedback and offset [V] of each amplifier.
    """
    return Assembly("e", list(map(_parts, *columns)))


def amplifier_instances(element: np.ndarray, sign: np.ndarray, *columns: Sequence[Any]) -> LibraryForm:
    """The same as instances; `element` and `sign` say whose output each row of the group's voltages is, and which."""
    pair = np.asarray(columns[2])[element] >= 0
    senses = np.where(sign < 0, "v_sense_n", np.where(pair, "v_sense_p", "v_sense"))
    instances = list(map(_instance, *columns))
    return LibraryForm("amplifier.lib", instances, list(zip(element.tolist(), senses.tolist(), strict=True)))


def _parts(u: int, p: int, n: int, gain: float, feedback: float, offset: float) -> list[Part]:
    source, parts = _offset(u, offset)
    for node, suffix, sign in ((p, "", 1.0), (n, "_inv", -1.0)):
        if node >= 0:
            parts += [
                Part("e", suffix, (suffix, GROUND, source, GROUND), sign * gain),
                Part("v", suffix, (suffix, node), 0.0),
                Part("f", suffix, (source, GROUND), sign * feedback, sensed=suffix),
            ]
    return parts


def _instance(u: int, p: int, n: int, gain: float, feedback: float, offset: float) -> LibraryInstance:
    source, before = _offset(u, offset)
    nodes, kind = ((source, p, n), "amplifier_pair") if n >= 0 else ((source, p), "amplifier")
    return LibraryInstance(kind, nodes, {"a": gain, "k": feedback}, before)


def _offset(node: int, offset: float) -> tuple[int | str, list[Part]]:
    """The node that an amplifier sees as its input, and the source that puts the offset before it, if there is one."""
    return ("_in", [Part("v", "_offset", ("_in", node), offset)]) if offset else (node, [])
