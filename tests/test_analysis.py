"""Studies of a trained run from the command line."""

import json

import pytest

from analog_ep import cli
from analog_ep.run import Run, choose_spec
from analog_ep.spec import parse_spec
from analog_ep.studies.power import AMPLIFIERS

pytestmark = pytest.mark.ngspice


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run that has not learnt anything."""
    tables = choose_spec(None, "xor").to_dict()
    tables["network"]["sizes"] = [2, 4, 2]
    path = tmp_path_factory.mktemp("runs") / "run"
    Run.create(path, parse_spec(tables, "test"))
    return path


@pytest.fixture
def analyse(run, capsys):
    def call(*arguments: object) -> dict:
        with pytest.raises(SystemExit) as ended:
            cli.main(["analyse", str(run), *map(str, arguments), "--json"])
        assert not ended.value.code
        return json.loads(capsys.readouterr().out)

    return call


def test_settling_is_proportional_to_the_capacitance(analyse):
    first, second = (analyse("settling", "--sample", 1, "--capacitance", c) for c in (1e-12, 3e-12))
    for phase, layers in first["phases"].items():
        assert set(layers) == {"h1", "o"}
        for name, times in layers.items():
            assert second["phases"][phase][name]["to_1_percent"] == pytest.approx(3 * times["to_1_percent"], rel=1e-3)
    assert first["phases"]["free"]["o"]["to_1_lsb"] > 0


def test_noise_power_and_corners(analyse):
    noise = analyse("noise")
    assert len(noise["rms"]) == 2
    # Two nodes of 1 pF, coupled a little: √(2 kT/C) is 91 µV.
    assert all(50e-6 < rms < 150e-6 for rms in noise["rms"])
    power = analyse("power")
    assert power["energy_per_inference"] == pytest.approx(power["total"] * power["settling_time"])
    assert power["total"] == pytest.approx(sum(power["delivered"].values()))
    assert {"inputs", AMPLIFIERS} <= set(power["delivered"])
    assert len(analyse("corners")["corners"]) == 27


def test_a_table(run, capsys):
    with pytest.raises(SystemExit):
        cli.main(["analyse", str(run), "power"])
    assert "energy of an inference" in capsys.readouterr().out
