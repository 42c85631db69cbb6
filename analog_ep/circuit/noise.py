"""White noise currents of a circuit, with two sources that must not be mixed up: resistors, and injection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analog_ep.circuit.circuit import Circuit, require_temperature
from analog_ep.circuit.law_check import answered, check_laws
from analog_ep.circuit.laws import ChargeLaw, CurrentLaw
from analog_ep.circuit.nodes import GROUND
from analog_ep.errors import CircuitError


@dataclass(frozen=True, eq=False)
class NoiseCurrents:
    """Independent white currents between nodes.

    Attributes
    ----------
    first, second : ndarray (n_currents,)
        Nodes between which each flows.
    density : ndarray (n_currents,)
        S, two-sided: the autocorrelation is S δ(t). Half of the one-sided density of data sheets. [A²/Hz]
    """

    first: np.ndarray
    second: np.ndarray
    density: np.ndarray

    def __len__(self) -> int:
        return len(self.density)

    def __add__(self, other: NoiseCurrents) -> NoiseCurrents:
        """Both together."""
        pairs = zip((self.first, self.second, self.density), (other.first, other.second, other.density), strict=True)
        return NoiseCurrents(*(np.concatenate(pair) for pair in pairs))


def johnson_currents(circuit: Circuit, temperature: float | None = None) -> NoiseCurrents:
    """Thermal noise of every conductance g, S = 2 k_B T g.

    With capacitors at all nodes of a passive linear network it gives the covariance k_B T C⁻¹, whatever the
    conductances: it says nothing about the network's co-content, which is a power and no energy.

    Parameters
    ----------
    circuit : Circuit
        With conductances.
    temperature : float, optional
        Of all conductances; positive; by default the circuit's. [K]

    Raises
    ------
    CircuitError
        If the temperature is not positive, there is a negative conductance, or a kind of branches whose noise is not
        known.
    """
    temperature = circuit.temperature if temperature is None else temperature
    require_temperature("resistors", temperature)
    groups = [group for group in circuit.of_kind(CurrentLaw) if group.linear]
    return _currents(circuit, groups, np.zeros(circuit.n_nodes), temperature)


def shot_currents(circuit: Circuit, voltages: np.ndarray) -> NoiseCurrents:
    """Noise of every diode at given voltages, S = q i coth(v / 2 V_t): shot noise, and at rest Johnson's.

    Junctions have their own temperature, piecewise-linear diodes the circuit's; see `devices.diode.shot_density`.

    Parameters
    ----------
    circuit : Circuit
        With diodes.
    voltages : ndarray (n_nodes,)
        Node voltages, ground first. [V]

    Raises
    ------
    CircuitError
        If there is a kind of branches whose noise is not known.
    DeviceParameterError
        If a diode does not tell its noise.
    """
    groups = [group for group in circuit.of_kind(CurrentLaw) if not group.linear]
    return _currents(circuit, groups, voltages, circuit.temperature)


def unknown_to_spice(circuit: Circuit, voltages: np.ndarray) -> NoiseCurrents:
    """The part of `shot_currents` that ngspice's ``.noise``, with 2q|i| one-sided for a junction, leaves out."""
    whole = shot_currents(circuit, voltages)
    known = [np.zeros(0)]
    for group in circuit.of_kind(CurrentLaw):
        if not group.linear and len(group):
            known.append(_density(group, "noise_in_spice", group.noise_in_spice(*_control_voltages(group, voltages))))
    return replace(whole, density=np.maximum(whole.density - np.concatenate(known), 0.0))


def _currents(circuit: Circuit, groups: Sequence[CurrentLaw], voltages: np.ndarray, kelvin: float) -> NoiseCurrents:
    check_laws(circuit)
    found = NoiseCurrents(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    for group in groups:
        density = group.noise_density(kelvin, *_control_voltages(group, voltages))
        if density is None:
            raise CircuitError(f"{group.label}: the noise of {type(group).__name__} is not known; leave the group out")
        found = found + NoiseCurrents(*group.ends(), _density(group, "noise_density", density))
    return found


def _density(group: CurrentLaw, name: str, density: np.ndarray) -> np.ndarray:
    """What a kind says of its noise, which must be one density of each element. [A²/Hz]"""
    found = answered(group, name, lambda: density, (len(group),))
    if not (np.isfinite(found) & (found >= 0)).all():
        at = int(np.flatnonzero(~(np.isfinite(found) & (found >= 0)))[0])
        raise CircuitError(f"{group.label}: noise must be finite and not negative, found {found[at]} A²/Hz by {name}")
    return found


def _control_voltages(group: CurrentLaw, voltages: np.ndarray) -> list[np.ndarray]:
    return [voltages[first] - voltages[second] for first, second in group.controls()]


def injected_currents(circuit: Circuit, density: float) -> NoiseCurrents:
    """The same white current into every node that has a capacitor to ground, from generators added on purpose.

    Where all these capacitances are c and all weights of the energy 1, the node voltages have the distribution
    exp(−E/T_eff), T_eff = S/(2c) [W], with nonlinear diodes too.

    Parameters
    ----------
    circuit : Circuit
        With capacitors; see `with_node_capacitance`.
    density : float
        S of each current, two-sided; positive. [A²/Hz]

    Raises
    ------
    CircuitError
        If the density is not positive, or no node has a capacitor to ground.
    """
    if not 0 < density < float("inf"):
        raise CircuitError(f"a noise density must be positive and finite, found {density} A²/Hz")
    nodes = [np.zeros(0, np.int64)]
    for group in circuit.of_kind(ChargeLaw):
        first, second = group.ends()
        nodes += [first[(second == GROUND) & (first != GROUND)], second[(first == GROUND) & (second != GROUND)]]
    unique = np.unique(np.concatenate(nodes))
    if not len(unique):
        raise CircuitError(f"injected noise needs nodes with a capacitor to ground, found none in {circuit.title!r}")
    return NoiseCurrents(unique, np.full_like(unique, GROUND), np.full(len(unique), float(density)))
