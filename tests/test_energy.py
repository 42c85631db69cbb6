"""Energy of drivers, amplifiers, charging and converters, against sums by hand; the command's figures."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import json
import re
import subprocess

import numpy as np
import pytest
import torch

from analog_ep import cli
from analog_ep.analyses.periphery import (
    ADCS,
    AMPLIFIERS,
    CHARGING,
    CORE,
    DACS,
    DIGITAL,
    DRIVERS,
    WRITES,
    Conversions,
    Periphery,
    PhaseEnergy,
    energies,
)
from analog_ep.analyses.power import branch_power
from analog_ep.circuit import Amplifiers, CircuitBuilder, Conductances, CurrentSources, VoltageSources
from analog_ep.constants import BOLTZMANN
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium import Newton
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.errors import StimulusError
from analog_ep.netlist.netlist import NetlistWriter, constant_drive
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.process import find_ngspice
from analog_ep.runs.choosing import choose_spec
from analog_ep.runs.folder import Run
from analog_ep.spec import parse_spec


def driven():
    """1 V and 1 mS to ground; a pump of 0.5 mA into 2 mS."""
    builder = CircuitBuilder("driven")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, a], [0, 0], [1e-3, 2e-3]))
    builder.add(CurrentSources("pump", 0, a, 5e-4))
    return builder.build(), np.array([[0.0, 1.0, 0.25]])


def test_drivers_take_their_currents_from_the_rails():
    circuit, voltages = driven()
    power = branch_power(circuit, voltages)
    found = Periphery(4.0).phase(circuit, voltages, power)
    core = 1e-3 * 1.0 + 2e-3 * 0.25**2
    assert found[CORE] == pytest.approx(core)
    # 1 mA and 0.5 mA from 2 V, of which the core takes its part.
    assert found[DRIVERS] == pytest.approx(2 * 1.5e-3 - core)
    assert found[AMPLIFIERS] == pytest.approx(0, abs=1e-18)
    # At rails that the nodes reach, only the pump has headroom left.
    assert Periphery(2.0).phase(circuit, voltages, power)[DRIVERS] == pytest.approx(1.5e-3 - core)


def amplified():
    """0.2 V at the inputs of two amplifiers of gain ± 5, on 1 mS and on 3 mS."""
    builder = CircuitBuilder("amplified")
    x, p, n = builder.add_nodes(["x", "p", "n"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Amplifiers("a", [x], [p], 5.0, 0.2, [n]))
    builder.add(Conductances("r", [p, n], [0, 0], [1e-3, 3e-3]))
    return builder.build(), np.array([[0.0, 0.2, 1.0, -1.0]])


@pytest.mark.parametrize(
    ("current", "drawn"),
    # Class A: both outputs at 3 mA, at 4 V. Else 1 µA each at 4 V, and 4 mA from 2 V.
    [(None, 2 * 4 * 3e-3), (1e-6, 2 * 4 * 1e-6 + 2 * 4e-3)],
)
def test_amplifiers(current, drawn):
    circuit, voltages = amplified()
    power = branch_power(circuit, voltages)
    found = Periphery(4.0, current).phase(circuit, voltages, power)
    delivered = power.delivered[power.amplifiers]
    # What they draw at the input comes from the source there: 0.2 (1 + 3) mA at 0.2 V.
    assert found[CORE] == pytest.approx(4e-3)
    assert found[AMPLIFIERS] == pytest.approx(drawn - delivered)
    assert delivered == pytest.approx(4e-3 - power.delivered["x"])


def test_a_conversion_by_walden_and_by_thermal_noise():
    assert Periphery(1.0).conversion(8, 300.0) == pytest.approx(256 * 10e-15)
    # 14 bits of a converter that is better than any: 8 kT times a signal-to-noise ratio of 1.5 · 4^14.
    limit = Periphery(1.0, energy_per_step=1e-17).conversion(14, 300.0)
    assert limit == pytest.approx(8 * BOLTZMANN * 300 * 1.5 * 4**14)
    assert limit > 1e-17 * 2**14


def test_sums_of_a_sample():
    free = PhaseEnergy({CORE: 1e-6, DRIVERS: 2e-6, AMPLIFIERS: 3e-6}, 1e-6, 5e-12)
    nudged = PhaseEnergy({CORE: 1e-6, DRIVERS: 2e-6, AMPLIFIERS: 3e-6}, 2e-6, 1e-12)
    periphery = Periphery(1.0, dac_bits=4, adc_bits=6, energy_per_step=1e-14, write_energy=1e-12)
    count = Conversions(inputs=10, outputs=4, nodes=20, nudges=2, cells=500, batch=50)
    inference, step = energies(periphery, free, nudged, 2, count, 300.0)
    assert inference == pytest.approx(
        {CORE: 1e-12, DRIVERS: 2e-12, AMPLIFIERS: 3e-12, CHARGING: 5e-12, DACS: 10 * 1.6e-13, ADCS: 4 * 6.4e-13}
    )
    assert step == pytest.approx(
        {
            CORE: 5e-12,
            DRIVERS: 10e-12,
            AMPLIFIERS: 15e-12,
            CHARGING: 7e-12,
            DACS: (10 + 4) * 1.6e-13,
            ADCS: 3 * 20 * 6.4e-13,
            WRITES: 10e-12,
        }
    )
    assert Periphery(1.0, capacitance=2e-12).charging(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 1.0]])) == 2e-12 * 3


def test_what_cannot_be():
    circuit, voltages = driven()
    with pytest.raises(StimulusError, match=r"within half the supply, 0\.6 V, found 1 V; give a supply voltage of 2 V"):
        Periphery(1.2).phase(circuit, voltages, branch_power(circuit, voltages))
    for arguments, words in (
        ({"supply": 0.0}, "the supply voltage must be positive and finite, found 0"),
        ({"supply": 1.0, "amplifier_current": -1.0}, "the amplifiers' current must be positive and finite, found -1"),
        ({"supply": 1.0, "energy_per_step": float("nan")}, "the energy of a conversion step must be positive"),
        (
            {"supply": 1.0, "write_energy": -1e-12},
            "the energy of a write must be finite and not negative, found -1e-12",
        ),
    ):
        with pytest.raises(StimulusError, match=words):
            Periphery(**arguments)


@pytest.mark.ngspice
def test_the_command(tmp_path, capsys):
    tables = choose_spec(None, "xor").to_dict()
    tables["network"]["sizes"] = [2, 4, 2]
    tables["converters"] = {"dac_bits": 6, "dac_range": 20.0}
    run = tmp_path / "run"
    Run.create(run, parse_spec(tables, "test"))

    def power(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["analyse", str(run), "power", *map(str, arguments)])
        return ended.value.code, capsys.readouterr().out

    found = json.loads(power("--write-energy", 1e-12, "--json")[1])
    assert found["operations"] == 2 * (2 * 4 + 4 * 2)
    assert found["inference"][CORE] == pytest.approx(found["energy_per_inference"])
    assert found["training_step"][CORE] == pytest.approx(found["energy_per_training_step"])
    assert found["whole_inference"] == pytest.approx(sum(found["inference"].values()))
    assert found["tops_per_watt"] == pytest.approx(found["operations"] / found["whole_inference"] / 1e12)
    assert all(joules >= 0 for joules in (*found["inference"].values(), *found["training_step"].values()))
    # Two inputs of 6 bits, four output nodes of 8 bits that no converter of the spec has.
    assert found["inference"][DACS] == pytest.approx(2 * 64 * 10e-15)
    assert found["inference"][ADCS] == pytest.approx(4 * 256 * 10e-15)
    batch = tables["training"]["batch_size"] or 1
    assert found["training_step"][WRITES] == pytest.approx((6 * 4 + 10 * 4) * 1e-12 / batch)
    least = found["periphery"]["supply"]
    code, _ = power("--supply-voltage", 0.9 * least)
    assert "all nodes must stay within half the supply" in str(code)
    assert not power("--supply-voltage", 2 * least)[0]
    written = {path.name for path in (run / "analysis").glob("*.json")}
    assert written == {f"power_0_supply-voltage={2 * least:g}.json", "power_0_write-energy=1e-12.json"}
    assert found["digital_tops_per_watt"] == DIGITAL
    assert DIGITAL["TPU, 28 nm, 8 bits, at work (arXiv:1704.04760)"] == pytest.approx(2.3)


@pytest.mark.ngspice
def test_currents_of_sources_and_amplifiers_are_those_of_ngspice(tmp_path):
    network = ResistiveNetwork([3, 4, 2], diode=ShockleyDiode(1e-9), gain=4.0, dtype=torch.float64, seed=2)
    inputs = torch.tensor([0.9, -0.4, 0.3], dtype=torch.float64)
    circuit = network.circuit()
    writer = NetlistWriter(circuit, constant_drive(inputs.numpy()))
    cards = [writer.title_card(), writer.options_card(), *writer.model_cards(), *writer.element_cards()]
    path = tmp_path / "op.cir"
    path.write_text("\n".join([*cards, ".op", ".end"]) + "\n")
    printed = subprocess.run([find_ngspice(), "-b", path], capture_output=True, text=True, check=True).stdout
    currents = dict(re.findall(r"^\s*(\S+)#branch\s+(\S+)", printed, re.MULTILINE))
    through = {name: abs(float(text)) for name, text in currents.items()}
    drivers = sum(amperes for name, amperes in through.items() if name.startswith(("v_inputs", "v_bias")))
    outputs = [amperes for name, amperes in through.items() if name.startswith("e_amplifier1")]
    assert len(outputs) == 8
    voltages = solve(network, inputs[None], solver=Newton()).voltages.numpy()
    power = branch_power(circuit, voltages)
    found = Periphery(10.0).phase(circuit, voltages, power)
    delivered = power.delivered[power.amplifiers]
    # Five digits are printed.
    assert found[DRIVERS] == pytest.approx(5 * drivers - (power.total - delivered), rel=1e-4)
    assert found[AMPLIFIERS] == pytest.approx(8 * 10 * max(outputs) - delivered, rel=1e-4)
    quiescent = Periphery(10.0, 1e-6).phase(circuit, voltages, power)
    assert quiescent[AMPLIFIERS] == pytest.approx(8 * 10 * 1e-6 + 5 * sum(outputs) - delivered, rel=1e-4)
