"""The memristor decks in netlists/memristors, and the equations of their devices, written a second time for scipy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from analog_ep.devices.memristors import VTEAM
from analog_ep.devices.memristors.writing import WriteSchedule, WriteVoltages
from analog_ep.ngspice.memristor_deck import memristor_write_deck
from analog_ep.support.resources import netlists_folder

N_PULSES = 64


@dataclass(frozen=True)
class Bench:
    """How one model is driven, and its equations.

    `rate` gives dx/dt and `current` the current, each of voltage and state; x lies in `bounds`. Pulses have the
    voltages `up`, which raises x, and `down`, for `width`, in slots of twice that.
    """

    amplitude: float
    period: float
    up: float
    down: float
    width: float
    start: float
    bounds: tuple[float, float]
    current: Callable[[float, float], float]
    rate: Callable[[float, float], float]


def linear_drift(window: Callable[[float, float], float], **drive: float) -> Bench:
    def current(v: float, x: float) -> float:
        return v / (100 * x + 16e3 * (1 - x))

    return Bench(
        **drive,  # pyright: ignore[reportArgumentType]
        start=0.1,
        bounds=(0.0, 1.0),
        current=current,
        rate=lambda v, x: 1e-14 * 100 / 10e-9**2 * current(v, x) * window(x, v),
    )


def threshold(value: Callable[[float, float], float], off: float, on: float, k_on: float, **drive: float) -> Bench:
    def rate(v: float, x: float) -> float:
        at = value(v, x)
        if at > off:
            return 5e-4 / 3e-9 * (at / off - 1) * (1 - x**4)
        if at < on:
            return k_on / 3e-9 * (at / on - 1) ** 3 * (1 - (1 - x) ** 4)
        return 0.0

    return Bench(
        **drive,  # pyright: ignore[reportArgumentType]
        start=0.5,
        bounds=(0.0, 1.0),
        current=_current,
        rate=rate,
    )


def yakopcic_rate(v: float, x: float) -> float:
    if v > 0.16:
        damping = np.exp(-(x - 0.3)) * ((0.3 - x) / (1 - 0.3) + 1) if x >= 0.3 else 1.0
        return 4000 * (np.exp(v) - np.exp(0.16)) * damping
    if v < -0.15:
        damping = np.exp(5 * (x + 0.5 - 1)) * x / (1 - 0.5) if x <= 0.5 else 1.0
        return -4000 * (np.exp(-v) - np.exp(0.15)) * damping
    return 0.0


def stanford_current(v: float, gap: float) -> float:
    return 1e-3 * np.exp(-gap / 0.25) * np.sinh(v / 0.25)


def stanford_rate(v: float, gap: float) -> float:
    kt = 8.617333e-5 * (298 + 2.1e3 * abs(v * stanford_current(v, gap)))
    gamma = 16 - 0.8 * gap**3
    ahead = (gap - 0.2) / 1.5 - (1.0 if v > 0 else 0.0)
    return -1e9 * 10 * np.exp(-0.6 / kt) * np.sinh(gamma * 0.25 * v / (12 * kt)) * (1 - ahead**8)


def _current(v: float, x: float) -> float:
    return v / (50 * (1 - x) + 1000 * x)


_SLOW = {"amplitude": 1.0, "period": 1.0, "up": 1.0, "down": -1.0, "width": 5e-3}
BENCHES = {
    "joglekar": linear_drift(lambda x, v: 1 - (2 * x - 1) ** 4, **_SLOW),
    "biolek": linear_drift(lambda x, v: 1 - (x - (1.0 if v < 0 else 0.0)) ** 4, **_SLOW),
    "prodromakis": linear_drift(lambda x, v: 1 - ((x - 0.5) ** 2 + 0.75) ** 2, **_SLOW),
    "team": threshold(_current, 4e-5, -4e-4, -1e-3, amplitude=0.6, period=1e-5, up=0.06, down=-0.45, width=2e-8),
    "vteam": threshold(lambda v, x: v, 0.02, -0.2, -10, amplitude=0.25, period=1e-5, up=0.1, down=-0.22, width=2e-8),
    "yakopcic": Bench(
        0.5, 1e-2, 0.3, -0.3, 5e-6, 0.11, (0.0, 1.0), lambda v, x: 0.17 * x * np.sinh(0.05 * v), yakopcic_rate
    ),
    "stanford": Bench(1.2, 1e-3, -1.0, 1.0, 1e-7, 1.5, (0.2, 1.7), stanford_current, stanford_rate),
}
"""By the name of the subcircuit, memristor_NAME."""


def deck(name: str, kind: str) -> str:
    """Text of a deck; `kind` is "loop" or "staircase"."""
    # The published curves of Stanford's model are those at 298 K.
    celsius = 24.85 if name == "stanford" else 27
    bench = BENCHES[name]
    if kind == "loop":
        source = f"v_drive drive 0 sin(0 {bench.amplitude!r} {1 / bench.period!r})"
        stop, step = 2 * bench.period, bench.period / 10000
        what = "two periods of a sine: the loop of its current over its voltage is pinched at the origin"
        cards = [source]
    else:
        slot = 2 * bench.width
        edge = bench.width / 10
        stop, step = 2 * N_PULSES * slot, bench.width / 50
        what = f"{N_PULSES} pulses up and {N_PULSES} pulses down"
        cards = [
            f"v_up drive middle pulse(0 {bench.up!r} {bench.width / 2!r} {edge!r} {edge!r} {bench.width!r} {slot!r}"
            f" {N_PULSES})",
            f"v_down middle 0 pulse(0 {bench.down!r} {bench.width / 2 + N_PULSES * slot!r} {edge!r} {edge!r}"
            f" {bench.width!r} {slot!r} {N_PULSES})",
        ]
    lines = [
        f"* memristor_{name}: {what}",
        f"* Run it with: ngspice -b {name}_{kind}.cir (checked with ngspice 39.3), from any folder.",
        "*#set numdgt=9",
        ".width out=132",
        f".options TEMP={celsius} TNOM=27 reltol=1e-6 vntol=1e-9 abstol=1e-15 chgtol=1e-18 gmin=1e-15",
        "",
        ".include ../memristors.lib",
        "",
        *cards,
        f"x_device drive 0 state memristor_{name} x0={bench.start!r}",
        "",
        f".tran {stop / 400!r} {stop!r} 0 {step!r} uic",
        f".print tran v(drive) v(state) i({'v_drive' if kind == 'loop' else 'v_down'})",
        ".end",
    ]
    return "\n".join(lines) + "\n"


MEMRISTOR_DECKS: dict[Path, tuple[str, str]] = {
    netlists_folder() / "memristors" / f"{name}_{kind}.cir": (name, kind)
    for name in BENCHES
    for kind in ("loop", "staircase")
}
"""Name and kind of each deck's file."""


@dataclass(frozen=True)
class Order:
    """Pulses of one sign for one device of a crossbar."""

    index: int
    sign: int
    count: int


PULSES = [Order(4, -1, 3), Order(0, 1, 2), Order(2, -1, 1), Order(5, 1, 1)]
"""Of a crossbar of 2 x 3 devices."""

VOLTAGES = WriteVoltages(potentiate=-0.3, depress=0.06, read=0.01, width=2e-8)
"""Of VTEAM with thresholds -0.2 V and 0.02 V: half of -0.3 V does nothing, half of 0.06 V still depresses."""

START = torch.tensor([[0.2, 0.5, 0.8], [0.6, 0.3, 0.4]], dtype=torch.float64)
WRITE_DECK = netlists_folder() / "memristors" / "vteam_write.cir"


def write_deck() -> str:
    """Text of the deck that writes a crossbar of VTEAM memristors."""
    return memristor_write_deck(VTEAM(), START, WriteSchedule.of(PULSES, (2, 3), VOLTAGES))


def main() -> None:
    """Write the decks."""
    WRITE_DECK.write_text(write_deck())
    for path, of in MEMRISTOR_DECKS.items():
        path.write_text(deck(*of))


if __name__ == "__main__":
    main()
