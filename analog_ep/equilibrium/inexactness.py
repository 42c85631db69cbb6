"""When a bound on voltage errors is good enough, and what to say where it is not."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit import Circuit, CurrentLaw

_ALWAYS = 1e-18
"""Error that is always small enough. [V]"""

_WIDE = 1e9
"""Ratio of conductances that float64 solves only with care."""


def allowed_error(voltages: np.ndarray, accuracy: float, floor: float = _ALWAYS) -> np.ndarray:
    """Error `(n_samples,)` that is small enough for states `(n_samples, n_nodes)`. [V]

    Parameters
    ----------
    voltages : ndarray (n_samples, n_nodes)
        States. [V]
    accuracy : float
        Error allowed, relative to the largest voltage of the sample.
    floor : float
        Error that is always allowed. [V]
    """
    return accuracy * np.abs(voltages).max(axis=1, initial=0.0) + floor


def inexact_message(
    circuit: Circuit, bound: np.ndarray, voltages: np.ndarray, exact: np.ndarray, accuracy: float, advice: str
) -> str:
    """What is said of samples that are not `exact`, with the cause as far as the circuit shows it; "" without any."""
    missed = np.flatnonzero(~exact)
    if not len(missed):
        return ""
    first = missed[0]
    size = np.abs(voltages[first]).max(initial=0.0)
    found = f"known to {bound[first]:.1e} V only" if np.isfinite(bound[first]) else "not known to any accuracy"
    return (
        f"node voltages must be known to {accuracy:g} of the largest one, found {len(missed)} of {len(exact)} samples "
        f"that are not: sample {first}, largest voltage {size:.3g} V, is {found}; {_cause(circuit)}; {advice}"
    )


def _cause(circuit: Circuit) -> str:
    siemens = {
        group.label: np.abs(group.slopes(np.zeros(len(group)))[0])
        for group in circuit.of_kind(CurrentLaw)
        if group.linear and group.is_two_terminal and len(group)
    }
    causes = []
    if siemens:
        low = min(siemens, key=lambda label: siemens[label].min())
        high = max(siemens, key=lambda label: siemens[label].max())
        least, most = siemens[low], siemens[high]
        if most.max() > _WIDE * least.min():
            causes.append(
                f"its conductances run from {least.min():.3g} S ({low}, element {least.argmin()}) to "
                f"{most.max():.3g} S ({high}, element {most.argmax()})"
            )
    active = [group.label for group in circuit.groups if group.is_controlled() and len(group)]
    if active:
        causes.append(f"a loop through {', '.join(active[:3])}{' …' if len(active) > 3 else ''} may nearly cancel")
    return " and ".join(causes) or "the state lies at a kink of a diode or is none"


def outside_of_laws(circuit: Circuit, voltages: np.ndarray) -> tuple[np.ndarray, str]:
    """Samples that end where a law says nothing, bool `(n_samples,)`, and where the first one does, in words.

    Parameters
    ----------
    circuit : Circuit
        Of which some laws may be `CurrentLaw.limited`.
    voltages : ndarray (n_samples, n_nodes)
        States. [V]
    """
    beyond, message = np.zeros(len(voltages), dtype=bool), ""
    for group in circuit.of_kind(CurrentLaw):
        if not group.limited:
            continue
        for sample, state in enumerate(voltages):
            words = group.outside(*(state[None, p] - state[None, n] for p, n in group.controls()))
            if words and not beyond.any():
                message = f"sample {sample}, {group.label}, {words}"
            beyond[sample] |= bool(words)
    return beyond, message
