"""Yield: chips drawn from a spec, their scores in a file, and ngspice's word on them."""

# pyright: reportOptionalMemberAccess=false

import json

import numpy as np
import pytest

from analog_ep import cli
from analog_ep.analyses.analyse import analyse
from analog_ep.analyses.chip_scores import ChipCheck, ChipScore, ScoreFile
from analog_ep.analyses.conditions import FOLDER, PARAMETERS, Conditions, Workplace, file_stem
from analog_ep.analyses.monte_carlo import ChipDraws, MonteCarlo, monte_carlo
from analog_ep.analyses.writing import write_report
from analog_ep.circuit.real_amplifiers import AmplifierModel
from analog_ep.errors import CheckpointError, SpecError, StimulusError
from analog_ep.learning.training import accuracy
from analog_ep.runs.building import build_dataset
from analog_ep.runs.folder import Run
from analog_ep.runs.trained import trained_circuit
from analog_ep.spec import load_spec, parse_spec, with_values
from analog_ep.support.resources import specs_folder

CHIP = {"conductance_spread": 0.1, "amplifier_offset": 0.01, "gain_spread": 0.02}


def iris(chip, epochs=1):
    spec = load_spec(specs_folder() / "iris-1v2.toml")
    tables = spec.to_dict() | ({} if chip is None else {"chip": chip})
    return with_values(parse_spec(tables, "test"), training={"epochs": epochs})


def trained(path, chip=CHIP):
    run = Run.create(path, iris(chip))
    run.train()
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "iris")


@pytest.fixture(scope="module")
def six(run):
    """Six chips, tried in this process."""
    return monte_carlo(ChipDraws.of(run), 6, jobs=1)


def test_figures_of_scores():
    found = MonteCarlo(tuple(ChipScore(n, 7 + n, right) for n, right in enumerate((8, 10, 9, 9, 5))), 10, 10)
    assert found.accuracies.mean() == pytest.approx(0.82)
    assert found.deviation == pytest.approx(np.std([0.8, 1.0, 0.9, 0.9, 0.5], ddof=1))
    assert found.yield_curve() == [(0.5, 1.0), (0.8, 0.8), (0.9, 0.6), (1.0, 0.2)]
    assert [found.reached_by(share) for share in (0.2, 0.5, 0.6, 0.8, 0.81)] == [1.0, 0.9, 0.9, 0.8, 0.5]
    assert found.yield_at(0.85) == 0.6
    assert found.worst_score == ChipScore(4, 11, 5)
    assert json.loads(found.to_json())["ngspice"] == {}


def test_every_chip_is_drawn_by_itself(run):
    """Offsets of all amplifiers of 60 chips: 600 draws of one normal distribution."""
    draws = ChipDraws.of(run)
    offsets = np.stack([draws.drawn(n)[1].values["amplifier1.offset"] for n in range(60)])
    assert offsets.std() == pytest.approx(CHIP["amplifier_offset"], rel=0.1)
    assert abs(offsets.mean()) < 3 * CHIP["amplifier_offset"] / np.sqrt(offsets.size)
    assert abs(np.corrcoef(offsets)[np.triu_indices(60, 1)].mean()) < 0.05
    factors = [draws.drawn(n)[1].factors["stage1.siemens"] for n in range(5)]
    assert np.log(factors).std() == pytest.approx(CHIP["conductance_spread"], rel=0.1)


def test_a_score_is_the_accuracy_of_a_run_on_that_chip(run, six, tmp_path):
    worst = tmp_path / "worst"
    found = monte_carlo(ChipDraws.of(run), 6, worst=worst, jobs=1)
    assert found == six
    spec, network, chip = trained_circuit(worst)
    assert spec.chip.seed == found.worst_score.seed
    dataset = build_dataset(spec, network)
    labels = dataset.test_labels
    reached = accuracy(network, dataset.test_inputs.double(), labels, chip=chip)
    assert reached == pytest.approx(found.accuracies.min())
    assert found.samples == len(labels) == 30
    # The chips differ, or nothing here says anything.
    assert len(np.unique(found.accuracies)) > 2


@pytest.mark.ngspice
def test_figures_are_the_same_by_any_number_of_processes_and_in_ngspice(run, six, tmp_path):
    both = monte_carlo(ChipDraws.of(run), 6, checks=3, folder=tmp_path, jobs=2)
    assert both.scores == six.scores
    assert sorted(score.chip for score in both.scores) == list(range(6))
    figures = both.check_figures()
    assert figures["classes_differ"] == 0
    assert figures["max_output_error"] < 1e-8
    assert figures["mean"] == figures["mean_ngspice"]
    assert figures["deviation"] == figures["deviation_ngspice"] > 0
    assert [check.right for check in both.checks] == [score.right for score in six.scores[:3]]


def test_an_interrupted_call_goes_on(run, six, tmp_path, monkeypatch):
    tried, score = [], ChipDraws.score

    def counted(draws, number):
        if len(tried) == 3:
            raise KeyboardInterrupt
        tried.append(number)
        return score(draws, number)

    monkeypatch.setattr(ChipDraws, "score", counted)
    with pytest.raises(KeyboardInterrupt):
        monte_carlo(ChipDraws.of(run), 6, folder=tmp_path, jobs=1)
    path = tmp_path / "chips.csv"
    lines = path.read_text().splitlines()
    assert len(lines) == 2 + 3
    # As a kill leaves it, in the middle of a line.
    path.write_text("\n".join(lines) + "\n3,12")
    tried.clear()
    monkeypatch.setattr(ChipDraws, "score", lambda draws, number: tried.append(number) or score(draws, number))
    assert monte_carlo(ChipDraws.of(run), 6, folder=tmp_path, jobs=1) == six
    assert tried == [3, 4, 5]
    assert path.read_text().splitlines()[:5] == lines
    # More chips go on from these, fewer need none.
    assert monte_carlo(ChipDraws.of(run), 7, folder=tmp_path, jobs=1).scores[:6] == six.scores
    assert monte_carlo(ChipDraws.of(run), 4, folder=tmp_path, jobs=1).scores == six.scores[:4]
    assert tried == [3, 4, 5, 6]


def test_scores_of_another_training_are_refused(tmp_path):
    path = trained(tmp_path / "run")
    monte_carlo(ChipDraws.of(path), 2, folder=tmp_path, jobs=1)
    more = Run.resume(path, iris(CHIP, epochs=2))
    more.train()
    with pytest.raises(CheckpointError, match=r"chips\.csv must hold scores of run \w+, test samples 0 to 29, found"):
        monte_carlo(ChipDraws.of(path), 2, folder=tmp_path, jobs=1)


def test_a_damaged_file(tmp_path):
    file = ScoreFile(tmp_path / "ngspice.csv", ChipCheck, "run x")
    file.append(ChipCheck(0, 12, 0, 1.5e-13))
    file.append(ChipCheck(3, 9, 1, 2e-3))
    assert file.read() == {0: ChipCheck(0, 12, 0, 1.5e-13), 3: ChipCheck(3, 9, 1, 2e-3)}
    for line in ("4,1", "4,1,0,0.1,3", "four,1,0,0.1"):
        file.path.write_text(file.path.read_text() + line + "\n")
        with pytest.raises(CheckpointError, match=r"must be a table of scores, found another line; remove it"):
            file.read()
        file.path.write_text("".join(file.path.read_text().splitlines(keepends=True)[:-1]))


def test_what_has_no_yield(run, tmp_path):
    with pytest.raises(StimulusError, match="a yield needs 2 chips at least, found 1"):
        monte_carlo(ChipDraws.of(run), 1)
    with pytest.raises(StimulusError, match=r"must be 0…3 of the chips, found 4"):
        monte_carlo(ChipDraws.of(run), 3, checks=4)
    for name, chip, words in (("none", None, "no \\[chip\\]"), ("zero", {"gain_spread": 0.0}, "spreads of 0 alone")):
        path = tmp_path / name
        Run.create(path, iris(chip))
        with pytest.raises(SpecError, match=f"chips must differ for a yield, found {words} in the spec of the run"):
            monte_carlo(ChipDraws.of(path), 2)


def called(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["analyse", *map(str, arguments)])
    return ended.value.code, capsys.readouterr()


@pytest.mark.pictures
@pytest.mark.ngspice
def test_the_command(run, capsys):
    code, said = called(capsys, run, "monte-carlo", "--chips", 3, "--check-chips", 1, "--jobs", 1, "--json")
    assert not code
    found = json.loads(said.out)
    assert found["chips"] == 3
    assert found["samples"] == 30
    stem = "monte-carlo_0_chips=3_check-chips=1"
    folder = run / FOLDER
    assert json.loads((folder / f"{stem}.json").read_text()) == found
    assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    assert "3 chips, 30 test samples each" in (folder / f"{stem}.txt").read_text()
    worst = folder / f"{stem}_worst"
    for command in (["check", worst, "--samples", 3], ["export", worst, "-o", folder / "worst.cir"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, command)])
        assert not ended.value.code
    assert "amplifier1" in (folder / "worst.cir").read_text()


def test_options_that_mean_nothing(run, capsys):
    for arguments, words in (
        (("monte-carlo",), "give the number of chips to draw"),
        (("power", "--chips", 3), "has a meaning only with monte-carlo"),
        (("monte-carlo", "--chips", 3, "--supply", "0.9"), "has a meaning only with corners"),
        (("gradient", "--lsb", "0.1"), "has a meaning only with nudging, settling"),
        (("corners", "--temperature", "hot"), "must be different numbers such as"),
        (("corners", "--supply", "1,1"), "must be different numbers such as"),
        (("corners", "--temperature-coefficients", "1,2,3"), "must be TC1 or TC1,TC2"),
    ):
        code, said = called(capsys, run, *arguments)
        assert code == 2, arguments
        assert words in " ".join(said.err.replace("│", " ").split())
    # What an exit of Python prints, with code 1.
    line, _ = called(capsys, run, "monte-carlo", "--chips", 1)
    assert str(line).startswith("analog-ep: a yield needs 2 chips at least, found 1")
    assert "\n" not in str(line)


def test_files_are_named_by_their_conditions(run):
    assert file_stem("power", 3, Conditions()) == "power_3"
    amplifiers = AmplifierModel(1e8, 50.0, 2.0)
    assert file_stem("settling", 0, Conditions(capacitance=3e-12, amplifiers=amplifiers)) == (
        "settling_0_capacitance=3e-12_bandwidth=1e+08_output-resistance=50_rail=2"
    )
    assert file_stem("corners", 0, Conditions(temperature=(-40.0, 125.0), supply=(0.9, 1.1), samples=5)) == (
        "corners_0_samples=5_temperature=-40,125_supply=0.9,1.1"
    )
    exact = Conditions(capacitance=1.0000000001e-12)
    assert file_stem("noise", 0, exact) == "noise_0_capacitance=1.0000000001e-12"
    # What a study does not know has no place in its name.
    assert file_stem("gradient", 0, exact) == "gradient_0"
    names = {field for fields in PARAMETERS.values() for field in fields}
    assert names == set(Conditions.__dataclass_fields__)


def test_a_second_report_overwrites_nothing(run, six):
    files = [write_report(run, "monte-carlo", 0, six, Conditions(chips=6, samples=count)) for count in (None, 30)]
    assert len({path for written in files for path in written}) == 6
    assert all(path.is_file() for written in files for path in written)


def test_progress_and_no_folder(run):
    told = []
    workplace = Workplace(jobs=1, progress=lambda done, total: told.append((done, total)))
    before = sorted(run.rglob("*"))
    found = analyse(run, "monte-carlo", 2, Conditions(samples=5, chips=3), workplace)
    # Before each part, and after each chip.
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]
    assert json.loads(found.to_json())["samples"] == 5
    assert sorted(run.rglob("*")) == before
