"""What docs/howto shows is run as it is written, at small size."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analog_ep.cards import pulsed_device
from analog_ep.cli import app
from analog_ep.devices.selection import voltage_share
from analog_ep.runs.step_pulses import EXPOSURE_COLUMNS, PULSE_COLUMNS
from analog_ep.spec.study import StudySpec
from tests.plain_ngspice import run_plain

HOWTO = Path(__file__).parent.parent / "docs" / "howto"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (HOWTO / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.mark.ngspice
def test_the_lattice_of_designers_learns_is_drawn_and_shows_itself_to_ngspice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (text,) = (each for each in blocks("designers.md", "python") if "SIDE" in each)
    assert "SIDE, STEPS = 6, 150" in text
    names: dict[str, object] = {}
    exec(text.replace("SIDE, STEPS = 6, 150", "SIDE, STEPS = 6, 2"), names)
    assert len(run_plain(tmp_path / "lattice.cir")["v(n52)-v(n23)"]) == 25
    assert (tmp_path / "lattice.svg").read_text(encoding="utf-8").count("<circle") == 39


@pytest.mark.ngspice
def test_the_deck_for_a_colleague_shows_all_four_cases(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    analog-ep (.*runs/xor .*|.*runs/xor)$", (HOWTO / "decks.md").read_text(), re.MULTILINE)
    assert [each.split()[0] for each in commands] == ["train", "export"]
    for command in commands:
        small = ["--epochs", "60"] if command.startswith("train") else []
        done = CliRunner().invoke(app, [*command.split(), *small])
        assert done.exit_code == 0, done.output
    table = run_plain(tmp_path / "xor.cir")
    assert list(table["v(o1_p)-v(o1_n)"] > table["v(o0_p)-v(o0_n)"]) == [False, True, True, False]
    head = blocks("decks.md", "")[0]
    assert head in (tmp_path / "xor.cir").read_text()


def test_the_study_of_device_physicists_is_one():
    (text,) = (each for each in blocks("devices.md", "toml") if "[axes.device]" in each)
    spec = StudySpec.model_validate(tomllib.loads(text))
    assert len(spec.axes["device"]) == 5


def test_the_observer_of_a_training_stops_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = blocks("training.md", "python")
    names: dict[str, Any] = {}
    exec(first, names)
    accuracies = [each.test_accuracy for each in names["run"].trainer.history]
    assert max(accuracies[-3:]) <= max(accuracies[:-3])
    assert 4 <= len(accuracies) < 30
    assert len(names["patience"].conductances) == len(accuracies)
    pytest.importorskip("tensorboard")
    exec(second, names)
    assert [each.test_accuracy for each in names["again"].trainer.history] == accuracies
    assert list((tmp_path / "again" / "tensorboard").iterdir())


def test_the_study_of_half_selected_devices_is_one():
    update, study = (tomllib.loads(text) for text in blocks("raw-to-deck.md", "toml"))
    spec = StudySpec.model_validate(study)
    assert [each.get("update", {}).get("write_scheme") for each in spec.axes["device"].values()] == [
        None, "V/2", "V/3", "V/2", None,
    ]  # fmt: skip
    device = pulsed_device("LinearStep", **update["update"]["parameters"])
    assert device.voltages == (2.0, -2.0)
    assert voltage_share(1.0, 2.0, 0.8) == pytest.approx(1 / 4, abs=0.03)


def test_the_tables_of_a_step_are_headed_as_they_are_written():
    lines = (HOWTO / "raw-to-deck.md").read_text(encoding="utf-8").splitlines()
    assert [",".join(each) in lines for each in (PULSE_COLUMNS, EXPOSURE_COLUMNS)] == [True, True]
