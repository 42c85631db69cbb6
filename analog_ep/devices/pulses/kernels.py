"""Pulse after pulse on single devices."""

from __future__ import annotations

import numpy as np

from analog_ep.support.compiled import compiled


@compiled
def pulse_rounds(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rounds of pulses and devices of each size begin, if devices stand by their pulses, the most first.

    A round is one pulse of every device that still gets one. The pulse k of the device at place p is the number
    `rounds[k] + p` of them all, and the last entry is how many there are; devices with n pulses stand from `places[n]`
    on, in the order in which they come.

    Parameters
    ----------
    sizes : array (n,)
        Pulses of each device, not signed.
    """
    most = 0
    for size in sizes:
        most = max(most, size)
    # Counted four by four, as adding to what has just been added to has to wait for it.
    tallies = np.zeros((4, most + 1), np.int64)
    for n, size in enumerate(sizes):
        tallies[n % 4, size] += 1
    rounds = tallies.sum(0)
    # From how many devices have exactly n pulses to how many have more, and to how many have as many.
    places, more = np.empty(most + 1, np.int64), 0
    for n in range(most, -1, -1):
        places[n] = more
        more += rounds[n]
        rounds[n] = more
    rounds[0] = 0
    return rounds.cumsum(), places


@compiled
def follow_lines(
    index: np.ndarray,
    counts: np.ndarray,
    rounds: np.ndarray,
    places: np.ndarray,
    factors: np.ndarray,
    state: np.ndarray,
    bounds: np.ndarray,
    lines: np.ndarray,
    weights: np.ndarray,
    history: np.ndarray,
    passed: np.ndarray,
) -> None:
    """Take devices through steps of (step + slope w) · factor, within their bounds.

    Parameters
    ----------
    index, counts : array (n,)
        The devices, none twice, and their signed pulses.
    rounds, places : arrays
        What `pulse_rounds` gave; `places` is used up.
    factors : array (n_pulses,)
        Of the steps, by the number of the pulse; none for 1.
    state : array (n_devices,)
        w; changed.
    bounds : array (2, n_devices)
        Least and largest w.
    lines : array (1 or 2, 2 n_devices)
        Step, and slope where there is one; depressing first.
    weights : array (2,)
        Of depressing and potentiating pulses in the sum.
    history : array (2, n_devices)
        Depressing and potentiating pulses so far; changed.
    passed : array ()
        Sum of w before every pulse so far, each times its weight; changed.
    """
    # Devices in the order of their pulses, so that every round is a loop over neighbours.
    n_devices, constant = len(index), len(lines) == 1
    low, high, step, slope, w, weight = np.empty((6, n_devices), state.dtype)
    place = np.empty(n_devices, np.int64)
    for n in range(n_devices):
        device, count, up = index[n], abs(counts[n]), 1 if counts[n] > 0 else 0
        at = places[count]
        places[count] += 1
        place[n], w[at], low[at], high[at] = at, state[device], bounds[0, device], bounds[1, device]
        step[at], weight[at] = lines[0, device + up * len(state)], weights[up]
        if not constant:
            slope[at] = lines[1, device + up * len(state)]
        history[up, device] += count
    before = 0.0
    for k in range(len(rounds) - 1):
        first = rounds[k]
        # Apart from the loop that writes: that one is taken four by four only where no two arrays may overlap, which
        # depends on where in memory they happen to lie, and with it the last bit of a sum.
        for n in range(rounds[k + 1] - first):
            before += weight[n] * w[n]
        for n in range(rounds[k + 1] - first):
            change = step[n] if constant else step[n] + slope[n] * w[n]
            if len(factors):
                change *= factors[first + n]
            w[n] = min(max(w[n] + change, low[n]), high[n])
    for n in range(n_devices):
        state[index[n]] = w[place[n]]
    passed[()] += before
