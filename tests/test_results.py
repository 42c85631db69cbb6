"""Results of commands as JSON and as columns."""

import json
import sys
import types
from pathlib import Path

import pytest

from analog_ep.calibration import fit_diode, read_table
from analog_ep.calibration.diode import COLUMNS
from analog_ep.errors import StudyError
from analog_ep.spec.study import load_study
from analog_ep.studies.cell import CellResult
from analog_ep.studies.results import StudyResults
from analog_ep.support.resources import calibration_folder


def result(accuracy: float | None, error: str = "") -> CellResult:
    return CellResult(accuracy, accuracy, None if error else 0.5, None, None, error, 1.0)


@pytest.fixture
def results(tmp_path: Path) -> StudyResults:
    text = 'base = "xor"\nepochs = 1\nseeds = [3, 4]\n[axes.write]\nideal = {}\nEcRam = { update.device = "EcRam" }\n'
    (tmp_path / "s.toml").write_text(text)
    return StudyResults(load_study(tmp_path / "s.toml"), [result(0.5), result(1.0), result(0.75), result(None, "no")])


def test_a_study_as_json_and_as_columns(results: StudyResults, monkeypatch: pytest.MonkeyPatch):
    columns = results.columns()
    assert columns["write"] == ["ideal", "ideal", "EcRam", "EcRam"]
    assert columns["seed"] == [3, 4, 3, 4]
    assert columns["test_accuracy"] == [0.5, 1.0, 0.75, None]
    found = json.loads(results.to_json())
    assert found["trainings"] == columns
    ideal, pulsed = found["means"]
    assert ideal["mean"] == 75.0
    assert ideal["deviation"] == pytest.approx(50 / 2**0.5)
    assert (pulsed["mean"], pulsed["deviation"], pulsed["failed"]) == (75.0, None, 1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(StudyError, match="needs pandas, found it missing"):
        results.to_pandas()
    stand_in = types.ModuleType("pandas")
    stand_in.DataFrame = dict  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "pandas", stand_in)
    assert results.to_pandas() == columns


def test_a_fit_as_json_and_as_a_table():
    # The table was simulated with these parameters.
    fit = fit_diode(read_table(calibration_folder() / "nxp_1n4148.csv", COLUMNS))
    found = json.loads(fit.to_json())
    assert found["estimates"]["saturation_current"]["value"] == pytest.approx(4.352e-9, rel=1e-4)
    assert found["estimates"]["ideality"]["value"] == pytest.approx(1.906, rel=1e-5)
    assert found["estimates"]["series_resistance"]["unit"] == "ohm"
    assert set(found["estimates"]) | set(found["constants"]) == set(fit.values)
    assert "4.352e-09" in fit._repr_html_()  # pyright: ignore[reportAttributeAccessIssue]
    assert "4.352e-09" in str(fit)
    assert max(map(len, str(fit).splitlines())) <= 120
