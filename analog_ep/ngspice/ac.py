"""Transfers of a linear circuit by ngspice's `.ac`, at any list of frequencies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analog_ep.circuit import Circuit, VoltageLaw
from analog_ep.errors import NgspiceResultError
from analog_ep.netlist.dialects import NGSPICE, analyses_of
from analog_ep.netlist.netlist import NetlistWriter
from analog_ep.netlist.texts import number
from analog_ep.ngspice.batch import run_parallel, run_twice
from analog_ep.ngspice.process import Stop, run_plots


def ac_transfer(
    circuit: Circuit,
    frequencies: np.ndarray,
    *,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    processes: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Phasors of all nodes under 1 V at each input, and under 1 A into each output.

    Parameters
    ----------
    circuit : Circuit
        Linear, with outputs.
    frequencies : ndarray (n_frequencies,)
        [Hz]
    executable, timeout
        See `run_ngspice`.
    processes : int
        Runs at a time; there is one for each input and each output.

    Returns
    -------
    ndarray (n_frequencies, n_nodes, n_inputs), ndarray (n_frequencies, n_nodes, n_outputs)
        Complex128, in full precision. [V], [Ω]

    Raises
    ------
    NgspiceError
        If ngspice fails.
    """
    driven = range(circuit.n_inputs + circuit.n_outputs)
    deck = _Deck(circuit, frequencies)

    def solve(which: int, stop: Stop) -> np.ndarray:
        text = deck.text(which)
        return deck.read(run_twice(lambda: run_plots(text, executable, timeout, stop)))

    found = run_parallel(solve, list(driven), processes)
    nodes = np.stack(found, axis=-1) if found else np.zeros((len(frequencies), circuit.n_nodes, 0), complex)
    return nodes[..., : circuit.n_inputs], nodes[..., circuit.n_inputs :]


class _Deck:
    """Decks of one circuit, which differ in what is driven."""

    def __init__(self, circuit: Circuit, frequencies: np.ndarray):
        self.circuit, self.frequencies = circuit, frequencies
        self._sources = [group for group in circuit.of_kind(VoltageLaw) if group.rows().is_source]
        others = [group for group in circuit.groups if group not in self._sources]
        writer = NetlistWriter(circuit.with_groups(others))
        cards = [writer.title_card(), writer.options_card(), *writer.model_cards(), *writer.element_cards()]
        self._shared = cards
        self._names = [f"v({name})" for name in circuit.node_names[1:]]

    def text(self, which: int) -> str:
        """With input `which` driven, or after the inputs an output's current."""
        analyses = analyses_of(NGSPICE)
        cards = [*self._shared, *self._source_cards(which), *self._current_cards(which - self.circuit.n_inputs)]
        cards += [analyses.small_signal(float(frequency)) for frequency in self.frequencies]
        return "\n".join([*cards, analyses.save(self._names), f"{NGSPICE.end()}\n"])

    def read(self, plots: list) -> np.ndarray:
        """Voltages of all nodes, `(n_frequencies, n_nodes)`."""
        if len(plots) != len(self.frequencies) or any(plot.values.shape[0] != 1 for plot in plots):
            raise NgspiceResultError(f"ngspice must return {len(self.frequencies)} points, found {len(plots)} plots")
        # ngspice runs the analyses of a deck in an order of its own.
        there = np.array([plot.columns(["frequency"])[0, 0].real for plot in plots])
        order = np.argsort(there, kind="stable")[np.argsort(np.argsort(self.frequencies, kind="stable"))]
        if not np.allclose(there[order], self.frequencies, rtol=1e-12, atol=0):
            raise NgspiceResultError(f"ngspice must solve the frequencies asked for, found {there[order].tolist()} Hz")
        found = np.stack([plots[at].columns(self._names)[0] for at in order]).astype(np.complex128)
        return np.concatenate([np.zeros((len(found), 1)), found], axis=1)

    def _source_cards(self, which: int) -> Iterator[str]:
        names, analyses = self.circuit.node_names, analyses_of(NGSPICE)
        for group in self._sources:
            rows = group.rows()
            scale = np.where((rows.input == which) & (which < self.circuit.n_inputs), rows.scale, 0.0)
            for i, (p, n, volts) in enumerate(zip(rows.positive, rows.negative, scale.tolist(), strict=True)):
                yield NGSPICE.element(f"v_{group.label}_{i}", (names[p], names[n]), analyses.stimulus(volts))

    def _current_cards(self, output: int) -> Iterator[str]:
        if output < 0 or self.circuit.outputs is None:
            return
        p, n = (self.circuit.node_names[nodes[output]] for nodes in self.circuit.outputs)
        yield NGSPICE.element("i_nudge", (n, p), f"dc 0 ac {number(1.0)}")
