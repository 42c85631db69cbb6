"""Batches in ngspice: reduced netlists, several processes, failed samples and killed processes."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from layered_networks import examples
from random_circuits import circuits, inputs_of

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    VoltageControlledCurrentSources,
    VoltageLaw,
    VoltageSources,
)
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.nodal import residual as kirchhoff
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import ConvergenceError, NgspiceCrashError, NgspiceResultError, StimulusError
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.gradients.propagation import EquilibriumPropagation
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice import sweep
from analog_ep.ngspice.batch import run_parallel
from analog_ep.ngspice.norton import NortonReduction
from analog_ep.ngspice.process import Stop, engine_version, has_klu, run_ngspice
from analog_ep.ngspice.small_signal import small_signal_response
from analog_ep.ngspice.sweep import Batch, Sweep
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

pytestmark = pytest.mark.ngspice

TIGHT = SpiceOptions(reltol=1e-12)
INPUTS = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]


@pytest.fixture
def wrapped(tmp_path, monkeypatch):
    """Puts a program in ngspice's place that runs some lines of Python on the deck before the real one."""
    real = shutil.which("ngspice")

    def install(lines: str) -> Path:
        script = tmp_path / "ngspice_wrapped"
        script.write_text(
            f"#!{sys.executable}\nimport os, pathlib, signal, subprocess, sys\n"
            "deck = '' if '--version' in sys.argv else sys.stdin.read()\n"
            f"{lines}\nsys.exit(subprocess.run([{real!r}, *sys.argv[1:]], input=deck, text=True).returncode)\n"
        )
        script.chmod(0o755)
        engine_version.cache_clear()
        has_klu.cache_clear()
        monkeypatch.setenv("ANALOG_EP_NGSPICE", str(script))
        return script

    return install


def clamped() -> Circuit:
    """One node between the input and a diode."""
    builder = CircuitBuilder("t")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", x, a, 1e-4))
    builder.add_diodes("d", a, 0, ShockleyDiode())
    return builder.build()


@given(circuits())
@examples(25)
def test_a_reduced_netlist_has_the_voltages_of_the_whole_one(circuit):
    inputs = torch.from_numpy(inputs_of(circuit, 3))
    expected = solve(circuit, inputs, solver=Newton(), throw=False)
    if not expected.converged.all():
        return
    found = solve(circuit, inputs, solver=Ngspice(options=TIGHT, reduced=True))
    scale = float(expected.voltages.abs().max())
    torch.testing.assert_close(found.voltages, expected.voltages, rtol=0, atol=1e-9 * max(scale, 1.0))


def test_what_a_reduction_leaves():
    circuit = ResistiveNetwork([5, 3, 2], dtype=torch.float64).circuit()
    reduced = NortonReduction.of(circuit).circuit
    # Without the inputs' and the bias rows: 6 amplifier outputs on 4 output nodes, and one conductance a node.
    assert sum(len(group) for group in reduced.of_kind(Conductances)) == 6 * 4 + 3 + 4
    assert not reduced.of_kind(VoltageSources)


def test_amplifiers_whose_outputs_only_resistors_touch_are_folded():
    circuit = ResistiveNetwork([5, 3, 2], dtype=torch.float64).circuit()
    folded = NortonReduction.of(circuit).without_amplifiers()
    # One conductance a node, and one transconductance each way for the three pairs with four output nodes.
    assert sum(len(group) for group in folded.circuit.of_kind(VoltageControlledCurrentSources)) == 2 * 3 * 4
    assert sum(len(group) for group in folded.circuit.of_kind(Conductances)) == 2 * (3 + 4)
    assert not folded.circuit.of_kind(VoltageLaw)
    assert len(folded.folded.nodes) == 6


def amplified() -> Circuit:
    """Amplifiers with offsets: one of a crossbar, one behind another, one with a diode at its output."""
    builder = CircuitBuilder("t")
    names = ["x", "a", "ap", "an", "b", "bo", "c", "co", "d", "do", "e"]
    x, a, ap, an, b, bo, c, co, d, do, e = builder.add_nodes(names).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Amplifiers("crossbar", [a], [ap], [4.0], [0.25], [an], [0.02]))
    builder.add(Amplifiers("first", [b], [bo], [3.0], [0.5], offset=[-0.01]))
    builder.add(Amplifiers("second", [bo], [co], [2.0], [0.3]))
    builder.add(Amplifiers("diode", [d], [do], [2.0], [0.5], offset=[0.03]))
    ends = [
        (x, a),
        (a, 0),
        (ap, b),
        (an, b),
        (ap, an),
        (b, 0),
        (bo, c),
        (co, c),
        (c, 0),
        (co, d),
        (d, 0),
        (do, e),
        (e, 0),
    ]
    first, second = zip(*ends, strict=True)
    builder.add(Conductances("r", first, second, 1e-5 * np.arange(1, len(ends) + 1)))
    builder.add_diodes("c", c, 0, ShockleyDiode(saturation_current=1e-9))
    builder.add_diodes("d", do, 0, ShockleyDiode(saturation_current=1e-9))
    builder.set_outputs([c, e], [d, 0])
    return builder.build()


def test_what_is_folded_has_the_voltages_and_the_response_of_the_whole():
    circuit = amplified()
    folded = NortonReduction.of(circuit).without_amplifiers().folded
    assert {circuit.node_names[node] for node in folded.nodes} == {"ap", "an", "co"}
    inputs = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    expected = solve(circuit, inputs, solver=Newton())
    found = solve(circuit, inputs, solver=Ngspice(options=TIGHT, reduced=True))
    torch.testing.assert_close(found.voltages, expected.voltages, rtol=0, atol=1e-11)
    currents = np.full((5, 2), 1e-6)
    response = small_signal_response(circuit, inputs.numpy(), currents, options=TIGHT, reduced=True)
    whole = small_signal_response(circuit, inputs.numpy(), currents, options=TIGHT)
    np.testing.assert_allclose(response, whole, rtol=1e-7, atol=1e-13)


def test_the_verdict_on_folded_amplifiers_is_that_of_the_whole_circuit(monkeypatch):
    """What ngspice solved is judged on the amplifiers' own circuit: a wrong transconductance cannot pass."""
    right = NortonReduction.without_amplifiers

    def wrong(self):
        found = right(self)
        groups = [
            replace(group, gain=1.001 * group.gain)
            if isinstance(group, VoltageControlledCurrentSources) and group.label.startswith("folded")
            else group
            for group in found.circuit.groups
        ]
        return replace(found, circuit=found.circuit.with_groups(groups))

    monkeypatch.setattr(NortonReduction, "without_amplifiers", wrong)
    found = solve(amplified(), INPUTS, solver=Ngspice(options=TIGHT, reduced=True), throw=False)
    assert not found.converged.any()


def test_rows_whose_current_controls_a_source_stay():
    builder = CircuitBuilder("t")
    x, a, f = builder.add_nodes(["x", "a", "f"]).tolist()
    builder.add(VoltageSources("norton", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, a, f], [a, 0, 0], [1e-3, 1e-3, 2e-3]))
    builder.add(CurrentControlledCurrentSources("f", f, 0, "norton", 0, 4.0))
    found = solve(builder.build(), INPUTS, solver=Ngspice(reduced=True)).voltages.numpy()
    # x/2 kΩ flows out of the source; four times that flows from ground into f.
    np.testing.assert_allclose(found[:, 1:], INPUTS.numpy() * [1, 0.5, 1.0], rtol=1e-10, atol=1e-15)


def test_only_one_of_two_opposite_inputs_is_spelt_out():
    network = ResistiveNetwork([2, 3, 2], dtype=torch.float64)
    batch = Batch(np.array([[0.5, 3.0], [0.25, 3.0]]))
    deck = Sweep(network.circuit()).deck(batch, [])
    cards = [line for line in deck.splitlines() if " x" in line[:16] and line[0] in "bv"]
    assert cards == [
        "b_inputs_0 x0_p 0 v=pwl(v(idx),0,0.5,1,0.25)",
        "v_inputs_1 x1_p 0 3.0",
        "b_inputs_2 x0_n 0 v=-v(x0_p)",
        "v_inputs_3 x1_n 0 -3.0",
    ]


def test_the_index_of_the_samples_has_a_row_of_its_own(monkeypatch):
    """Else KLU takes an input's for it, and searches all of a crossbar's wires for another: hours at 44,000 nodes."""
    decks = []

    def ends_there(deck, *_):
        decks.append(deck)
        raise NgspiceResultError("not run")

    monkeypatch.setattr(sweep, "run_own", ends_there)
    with pytest.raises(NgspiceResultError, match="not run"):
        Sweep(clamped()).run(Batch(np.array([[0.5], [1.0]])))
    cards = [line for line in decks[0].splitlines() if line[0] not in "*."]
    assert cards[:2] == ["vidx idx 0 0.0", "ridx idx 0 1.0"]
    assert sum("idx 0" in card for card in cards) == 2


def test_inputs_that_are_not_quite_opposite():
    builder = CircuitBuilder("t")
    nodes = builder.add_nodes([f"x{i}" for i in range(6)])
    a = builder.add_nodes(["a"])[0]
    # Of the first one only the fifth is the opposite: others differ in input, offset, scale or ground.
    positive, negative = [*nodes[:5], 0], [0, 0, 0, 0, 0, nodes[5]]
    volts, scale = [1.0, -1.0, 1.0, -1.0, -1.0, -1.0], [2.0, -2.0, -2.0, -2.5, -2.0, -2.0]
    builder.add(VoltageSources("x", positive, negative, volts, [0, 1, 0, 0, 0, 0], scale))
    builder.add(Conductances("r", nodes, a, [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]))
    builder.add_diodes("d", a, 0, ShockleyDiode())
    circuit = builder.build()
    inputs = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert Sweep(circuit).deck(Batch(inputs.numpy()), []).count("v=-v(x0)") == 1
    found = solve(circuit, inputs, solver=Ngspice(options=TIGHT, processes=2))
    expected = solve(circuit, inputs, solver=Newton())
    torch.testing.assert_close(found.voltages, expected.voltages, rtol=0, atol=1e-11)


def test_an_error_in_one_thread_ends_the_runs_of_the_others(wrapped, tmp_path):
    wrapped(f"if deck:\n    open('{tmp_path}/pid', 'w').write(str(os.getpid()) + '\\n')\n    signal.pause()")
    pid = tmp_path / "pid"

    def function(item: int, stop: Stop) -> None:
        if not item:
            run_ngspice("* t\n", 1, stop=stop, timeout=60)
        while not (pid.exists() and pid.read_text().endswith("\n")):
            time.sleep(0.01)
        raise ZeroDivisionError("the second item")

    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError, match="the second item"):
        run_parallel(function, range(2), 2)
    assert time.monotonic() - begin < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGCONT)


def test_results_are_in_the_order_of_the_items():
    assert run_parallel(lambda item, stop: time.sleep(0.05 * (3 - item)) or item, range(3), 3) == [0, 1, 2]
    assert run_parallel(lambda item, stop: item, range(5), 2) == list(range(5))
    assert run_parallel(lambda item, stop: item, [], 2) == []


@pytest.mark.parametrize("kind", ["frozen", "elastic"])
def test_processes_and_reductions_agree_on_nudged_networks(kind):
    network = ResistiveNetwork([4, 5, 3], diode=ShockleyDiode(1e-9), dtype=torch.float64)
    inputs = torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = torch.eye(3, dtype=torch.float64)[torch.arange(11) % 3]
    nudge = Nudge(1e-6, targets, SquaredError(), kind)
    expected = solve(network, inputs, nudge, solver=Newton())
    for processes, reduced, points in ((1, False, 4), (2, False, 2000), (3, True, 2)):
        solver = Ngspice(options=TIGHT, processes=processes, reduced=reduced, max_points=points)
        found = solve(network, inputs, nudge, solver=solver)
        torch.testing.assert_close(found.voltages, expected.voltages, rtol=0, atol=1e-11)


def test_a_number_of_processes_below_one():
    with pytest.raises(StimulusError, match="processes must be at least 1, found 0"):
        Ngspice(processes=0)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_failed_sample_is_told_by_its_index_and_the_others_are_kept(wrapped, processes):
    expected = solve(clamped(), INPUTS, solver=Ngspice(options=TIGHT)).voltages
    wrapped("if ',1.5' in deck or ' 1.5\\n' in deck: sys.exit('Warning: singular matrix: check node a')")
    solver = Ngspice(options=TIGHT, processes=processes)
    state = solve(clamped(), INPUTS, solver=solver, throw=False)
    assert state.converged.tolist() == [True] * 7 + [False, True]
    assert state.voltages[7, 1:].isnan().all()
    assert state.residual[7] == torch.inf
    torch.testing.assert_close(state.voltages[state.converged], expected[state.converged], rtol=0, atol=1e-12)
    words = r"found 1 of 9 that it did not \(7\); the others are solved; sample 7: .*singular matrix"
    with pytest.raises(ConvergenceError, match=words):
        solve(clamped(), INPUTS, solver=solver)


@pytest.mark.parametrize(("processes", "points", "runs"), [(1, 4, 3), (2, 4, 4), (2, 100, 2), (4, 2, 8), (12, 2, 9)])
def test_every_process_has_as_many_runs_and_the_progress_is_told(processes, points, runs):
    told = []
    solver = Ngspice(processes=processes, max_points=points, progress=lambda *count: told.append(count))
    solve(clamped(), INPUTS, solver=solver)
    assert len(told) == runs
    assert [total for _, total in told] == [9] * runs
    done = [count for count, _ in told]
    assert done == sorted(done)
    assert done[-1] == 9


def test_failed_samples_are_told_as_done(wrapped):
    told = []
    wrapped("if ',1.5' in deck or ' 1.5\\n' in deck: sys.exit('Warning: singular matrix: check node a')")
    solve(clamped(), INPUTS, solver=Ngspice(progress=lambda *count: told.append(count)), throw=False)
    assert told[-1] == (9, 9)


def test_klu_is_asked_for_only_where_ngspice_has_it(wrapped, tmp_path):
    deck = tmp_path / "deck"
    expected = solve(clamped(), INPUTS, solver=Ngspice()).voltages
    wrapped(f"open({str(deck)!r}, 'w').write(deck)")
    solve(clamped(), INPUTS, solver=Ngspice())
    assert ".options klu" not in deck.read_text()
    # One that says so and has it: the option is left to the words, the solution to the real program.
    wrapped(
        f"open({str(deck)!r}, 'w').write(deck)\n"
        "if '.options klu' in deck: print('Using KLU as Direct Linear Solver', flush=True)\n"
        "deck = deck.replace('.options klu', '')"
    )
    has_klu.cache_clear()
    found = solve(clamped(), INPUTS, solver=Ngspice()).voltages
    assert ".options klu" in deck.read_text()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    has_klu.cache_clear()


def test_a_circuit_that_fails_in_every_sample_is_given_up_soon(wrapped, tmp_path):
    wrapped(f"open('{tmp_path}/runs', 'a').write('.')\nif deck: sys.exit('singular matrix')")
    state = solve(clamped(), INPUTS.repeat(23, 1)[:200], solver=Ngspice(), throw=False)
    assert not state.converged.any()
    assert state.voltages.isnan().all()
    assert "found 200 of 200 that it did not (0, 1, 2, 3, 4…); sample 0: " in state.message
    assert "singular matrix" in state.message
    assert len((tmp_path / "runs").read_text()) < 40


def test_a_killed_ngspice_is_started_once_more(wrapped, tmp_path):
    mark = tmp_path / "killed"
    wrapped(
        f"mark = pathlib.Path({str(mark)!r})\n"
        "if deck and not mark.exists():\n    mark.touch()\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert solve(clamped(), INPUTS, solver=Ngspice()).converged.all()
    assert mark.exists()


def test_an_ngspice_that_is_always_killed(wrapped):
    wrapped("if deck: os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(
        ConvergenceError, match=r"9 of 9 .* sample 0: ngspice must run to its end, found it ended by SIGKILL"
    ):
        solve(clamped(), INPUTS, solver=Ngspice(max_points=3))


def test_samples_that_kill_ngspice_leave_the_others(wrapped):
    wrapped("if '2.0' in deck: os.kill(os.getpid(), signal.SIGKILL)")
    state = solve(clamped(), INPUTS, solver=Ngspice(max_points=3), throw=False)
    assert state.converged.tolist() == [False] * 3 + [True] * 3 + [False] * 3
    assert "found 6 of 9 that it did not (0, 1, 2, 6, 7…)" in state.message
    assert "SIGKILL" in state.message


class Killer:
    """Kills real runs of ngspice with signal 9 as soon as they are seen: those whose turn `wanted` says."""

    def __init__(self, wanted: Callable[[int], bool]):
        self.wanted, self.seen = wanted, []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.is_set():
            for pid in running_ngspice() - set(self.seen):
                self.seen.append(pid)
                if self.wanted(len(self.seen) - 1):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)


def running_ngspice() -> set[int]:
    pids: set[int] = set()
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            pids |= {int(word) for word in children.read_text().split()}
    return {pid for pid in pids if _is_ngspice(pid)}


def _is_ngspice(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "ngspice"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("wanted", "lost"), [(lambda i: i == 1, None), (lambda i: i in (1, 2), range(40, 80)), (lambda i: True, range(120))]
)
def test_kill_9_of_a_running_ngspice(wanted, lost):
    network = ResistiveNetwork([30, 40, 10], diode=ShockleyDiode(1e-9), dtype=torch.float64, seed=1)
    inputs = torch.randn(120, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = solve(network, inputs, solver=Ngspice(max_points=40)).voltages
    with Killer(wanted) as killer:
        if lost == range(120):
            with pytest.raises(ConvergenceError, match=r"120 of 120 .* found it ended by SIGKILL"):
                solve(network, inputs, solver=Ngspice(max_points=40))
            assert len(killer.seen) == 6
            return
        state = solve(network, inputs, solver=Ngspice(max_points=40), throw=False)
    assert len(killer.seen) == 4
    kept = np.setdiff1d(np.arange(120), np.array(lost or [], dtype=int))
    assert state.converged.numpy().nonzero()[0].tolist() == kept.tolist()
    # What was solved is what an undisturbed run gives, to the last bit.
    assert torch.equal(state.voltages[kept], expected[kept])
    if lost:
        assert "found 40 of 120 that it did not (40, 41, 42, 43, 44…); the others are solved" in state.message
        assert "ended by SIGKILL" in state.message


def test_factors_are_freed_by_the_thread_that_made_them(monkeypatch):
    made, real = [], kirchhoff.splu
    monkeypatch.setattr(kirchhoff, "splu", lambda *a, **k: made.append(threading.get_ident()) or real(*a, **k))
    solve(clamped(), INPUTS, solver=Ngspice(processes=2))
    # SciPy keeps the memory of SuperLU by thread, and does not free what another thread made.
    assert set(made) == {threading.get_ident()}


def test_a_stopped_batch_leaves_no_process(wrapped, tmp_path):
    wrapped(f"if deck:\n    open('{tmp_path}/pid', 'w').write(str(os.getpid()) + '\\n')\n    signal.pause()")
    stop, caught = Stop(), []

    def run() -> None:
        try:
            run_ngspice("* t\n", 1, stop=stop)
        except NgspiceCrashError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n")):
        time.sleep(0.01)
    stop.set()
    thread.join(10)
    assert "found it ended by SIGKILL" in caught[0]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGCONT)
    with pytest.raises(NgspiceCrashError, match="found the batch stopped"):
        run_ngspice("* t\n", 1, stop=stop)


@pytest.mark.parametrize("reduced", [False, True])
def test_gradients_measured_in_ngspice(reduced):
    diode = ShockleyDiode(1e-9)
    network = ResistiveNetwork([4, 6, 5, 3], diode=diode, dtype=torch.float64, seed=3)
    random = torch.Generator().manual_seed(2)
    inputs = torch.randn(6, 4, dtype=torch.float64, generator=random)
    targets = torch.eye(3, dtype=torch.float64)[torch.arange(6) % 3]
    cost = CrossEntropy(0.1)
    options = {"nudging": 1e-8, "cost": cost}
    in_torch = EquilibriumPropagation(network, **options).gradients(inputs, targets)[1]
    in_ngspice = EquilibriumPropagation(network, solver=Ngspice(reduced=reduced), **options).gradients(inputs, targets)[
        1
    ]
    exact = implicit_gradients(network, cost, inputs, targets)
    for name, gradient in in_ngspice.items():
        scale = float(in_torch[name].abs().max())
        torch.testing.assert_close(gradient, in_torch[name], rtol=0, atol=1e-4 * scale)
        cosine = torch.cosine_similarity(gradient.flatten(), exact[name], dim=0)
        assert float(cosine) > 0.99999


def test_the_default_tolerances_reach_the_solution_and_not_the_last_step_but_one():
    # With reltol = 1e-9 the largest error here is 2e-9 V.
    network = ResistiveNetwork([20, 30, 5], diode=ShockleyDiode(1e-6), dtype=torch.float64, seed=1)
    inputs = 100 * (2 * torch.rand(60, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 1)
    expected = solve(network, inputs, solver=Newton()).voltages
    found = solve(network, inputs, solver=Ngspice(reduced=True)).voltages
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
