"""A memristor in Verilog-A, written by pulses and read back: VACASK and ngspice with OSDI against PyTorch."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import vacask
from memristor_decks import PULSES, START, VOLTAGES

from analog_ep.devices.memristors import VTEAM, memristor
from analog_ep.devices.memristors.writing import WriteSchedule, write_crossbar
from analog_ep.errors import CircuitError, NgspiceNotFoundError, StimulusError
from analog_ep.netlist.verilog_memristors import vacask_write_deck, verilog_a
from analog_ep.ngspice.engines import find_engine
from analog_ep.ngspice.memristor_deck import memristor_write_deck
from analog_ep.ngspice.process import has_osdi

SCHEDULE = WriteSchedule.of(PULSES, (2, 3), VOLTAGES)
SPREAD = VTEAM(r_off=torch.tensor([[900.0, 1000.0, 1100.0], [1000.0, 950.0, 1050.0]], dtype=torch.float64))


def loads_modules() -> bool:
    try:
        return has_osdi(find_engine())
    except NgspiceNotFoundError:
        return False


@pytest.mark.vacask
@pytest.mark.parametrize("device", [VTEAM(), SPREAD], ids=["alike", "spread"])
def test_vacask_writes_and_reads_what_pytorch_does(device: VTEAM, tmp_path: Path):
    (found,) = vacask.run(vacask_write_deck(device, START, SCHEDULE), tmp_path, "write")
    expected = write_crossbar(device, START, SCHEDULE, tolerance=1e-9)
    assert float((expected.states - START).abs().max()) > 0.01
    instants, columns = SCHEDULE.times[SCHEDULE.read_corners], range(3)
    read = [np.interp(instants, found["time"], found[f"v_column_{j}:flow(br)"]) for j in columns]
    states = [[found[f"state_{i}_{j}"][-1] for j in columns] for i in range(2)]
    np.testing.assert_allclose(states, expected.states, rtol=0, atol=2e-4)
    np.testing.assert_allclose(np.stack(read, 1) / SCHEDULE.read_voltage, expected.conductances, rtol=1e-3)


@pytest.mark.ngspice
@pytest.mark.vacask
@pytest.mark.skipif(not loads_modules(), reason="this ngspice has no OSDI")
def test_ngspice_writes_and_reads_the_compiled_module(tmp_path: Path):
    (tmp_path / "vteam.va").write_text(verilog_a(SPREAD))
    subprocess.run([str(vacask.COMPILER), "vteam.va"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "write.cir").write_text(memristor_write_deck(SPREAD, START, SCHEDULE, "vteam.osdi"))
    command = [*find_engine().command("-n", "-b"), "write.cir"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    printed = dict(re.findall(r"^(g_\d_\d)\s*=\s*(\S+)", done.stdout, re.MULTILINE))
    expected = write_crossbar(SPREAD, START, SCHEDULE, tolerance=1e-9).conductances
    found = [[float(printed[f"g_{i}_{j}"]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_what_has_no_module_is_refused():
    with pytest.raises(CircuitError, match="module of memristor_stanford, found those of memristor_vteam alone"):
        vacask_write_deck(memristor("stanford"), START, SCHEDULE)
    with pytest.raises(CircuitError, match="module of memristor_stanford"):
        memristor_write_deck(memristor("stanford"), START, SCHEDULE, "x.osdi")
    with pytest.raises(StimulusError, match=r"states must have the schedule's shape \(2, 3\), found \(3, 2\)"):
        vacask_write_deck(VTEAM(), START.T, SCHEDULE)
