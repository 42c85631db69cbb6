"""Studies of a trained run from the command line."""

import json

import pytest

from analog_ep import cli
from analog_ep.analyses.conditions import FOLDER
from analog_ep.analyses.power import AMPLIFIERS
from analog_ep.runs.choosing import choose_spec
from analog_ep.runs.folder import Run
from analog_ep.spec import parse_spec

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


def test_energy_of_a_training_step(analyse, run):
    energy = analyse("power", "--capacitance", 1e-12)
    nudged = energy["nudged"]
    assert energy["nudged_phases"] == 2
    assert nudged["energy_per_inference"] == pytest.approx(nudged["total"] * nudged["settling_time"])
    step = energy["energy_per_inference"] + 2 * nudged["energy_per_inference"]
    assert energy["energy_per_training_step"] == pytest.approx(step)
    assert sum(nudged["delivered"].values()) == pytest.approx(nudged["total"])
    assert "nudge" in nudged["delivered"]
    times = analyse("settling", "--capacitance", 1e-12)["phases"]
    assert energy["settling_time"] == times["free"]["o"]["to_1_percent"]
    assert nudged["settling_time"] == times["nudged"]["o"]["to_1_percent"]


@pytest.mark.parametrize("amplifiers", [(), ("--bandwidth", 1e8, "--output-resistance", 50, "--rail", 2.0)])
def test_settling_by_torch_and_by_ngspice(analyse, amplifiers):
    first, second = (analyse("settling", *amplifiers, "--integrator", name)["phases"] for name in ("ngspice", "torch"))
    for phase in ("free", "nudged"):
        for layer in ("h1", "o"):
            expected = pytest.approx(first[phase][layer]["to_1_percent"], rel=0.01)
            assert second[phase][layer]["to_1_percent"] == expected


def test_amplifiers_of_small_bandwidth_settle_later(analyse):
    slow, fast = (analyse("settling", "--bandwidth", hertz)["phases"]["free"]["o"] for hertz in (1e6, 1e9))
    assert slow["to_1_percent"] > 5 * fast["to_1_percent"]


def test_power_with_real_amplifiers_is_told_by_the_same_branches(analyse):
    ideal, real = analyse("power"), analyse("power", "--bandwidth", 1e9, "--output-resistance", 0.01)
    assert set(real["dissipated"]) == set(ideal["dissipated"])
    assert real["total"] == pytest.approx(ideal["total"], rel=1e-4)
    assert sum(real["nudged"]["delivered"].values()) == pytest.approx(real["nudged"]["total"])


def test_rails_without_a_bandwidth(run, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["analyse", str(run), "power", "--rail", "2"])
    assert ended.value.code == 2
    assert "only with --bandwidth" in " ".join(capsys.readouterr().err.split())


def test_operating_point_and_gradient(analyse, run):
    point = analyse("operating-point", "--sample", 2)
    nodes, layers = point["nodes"], point["layers"]
    assert layers["h1"] == [nodes[f"h1_{j}"] for j in range(4)]
    assert point["outputs"] == pytest.approx([nodes[f"o{j}_p"] - nodes[f"o{j}_n"] for j in range(2)])
    assert {len(amperes) for amperes in point["diodes"].values()} == {2}
    assert point["residual"] < 1e-12
    gradient = analyse("gradient", "--sample", 2)
    assert set(gradient["cosines"]) == {"stage1", "stage2"}
    assert all(0.999999 <= cosine <= 1 + 1e-12 for cosine in gradient["cosines"].values())
    assert all(norm > 0 for norm in gradient["norms"].values())


def test_noise_over_time_is_that_over_the_frequency(analyse):
    found, expected = analyse("transient-noise")["rms"], analyse("noise")["rms"]
    # 200 time constants: a standard error of 5 %.
    assert found == pytest.approx(expected, rel=0.2)


@pytest.mark.pictures
def test_every_study_is_written(analyse, run):
    for study in ("operating-point", "gradient", "settling", "noise", "transient-noise", "power", "corners"):
        printed = analyse(study, "--sample", 1)
        stem = run / FOLDER / f"{study}_1"
        written = json.loads(stem.with_suffix(".json").read_text())
        assert written == printed
        assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert "┃" in stem.with_suffix(".txt").read_text()


def test_nothing_is_written_where_nobody_asks(run, capsys):
    with pytest.raises(SystemExit):
        cli.main(["analyse", str(run), "power", "--sample", "3", "--no-save"])
    assert "wrote" not in capsys.readouterr().out
    assert not (run / FOLDER / "power_3.json").exists()


def test_a_table(run, capsys):
    with pytest.raises(SystemExit):
        cli.main(["analyse", str(run), "power"])
    assert "energy of an inference" in capsys.readouterr().out
