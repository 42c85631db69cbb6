"""Reports: one page that needs nothing else, and says what it cannot show."""

import csv
import json
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from analog_ep.analyses.characteristics import characteristics
from analog_ep.analyses.class_scores import Share, class_scores
from analog_ep.analyses.voltage_map import plot_voltage_map, voltage_map
from analog_ep.cli import main
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium import Newton, solve
from analog_ep.errors import CheckpointError, StimulusError
from analog_ep.networks import HopfieldNetwork, ResistiveNetwork
from analog_ep.ngspice.engines import ENVIRONMENT_VARIABLE
from analog_ep.reporting import report
from analog_ep.reporting.subject import RunSubject
from analog_ep.runs.choosing import choose_spec
from analog_ep.runs.folder import Run
from analog_ep.spec import default_spec, parse_spec, with_values

SECTIONS = [
    "What it is",
    "Network",
    "Learning curve",
    "Accuracy by class",
    "Voltage map",
    "Conductances",
    "Diodes",
    "Settling",
    "Noise",
    "Power",
    "Cross-check",
    "Hardware needed",
    "Versions",
]
OF_NGSPICE = {"Settling", "Noise", "Power", "Cross-check"}
STUDY = Path(__file__).parent.parent / "docs" / "studies" / "digits-hardware"


VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Headings, links, pictures, scripts and whether every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.headings: list[str] = []
        self.asked: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.asked += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]
        self.anchors |= {value or "" for name, value in attrs if name == "id"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def parsed(text: str) -> Page:
    page = Page(text)
    assert page.open == []
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    for target in page.asked:
        assert target.startswith("data:") or target[1:] in page.anchors, target
    assert "@import" not in text
    assert "url(" not in text
    assert len(text.encode()) < 2e6
    return page


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "run"
    spec = with_values(default_spec("iris"), network={"sizes": [4, 5, 3]}, training={"epochs": 2})
    Run.create(path, spec).train()
    return path


@pytest.mark.pictures
@pytest.mark.ngspice
def test_a_run_has_every_section_in_one_file(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["report", str(run), "-o", str(tmp_path / "r.html"), "--samples", "2"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"wrote {tmp_path / 'r.html'}\n"
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = parsed(text)
    assert page.headings == SECTIONS
    assert page.tags.count("img") == 8
    assert "svg" in page.tags
    assert "Not shown" not in text


@pytest.mark.ngspice
def test_the_figures_are_those_of_the_analyses(run):
    from analog_ep.analyses.analyse import analyse
    from analog_ep.runs.trained import cross_checked

    found = json.loads(report(run, sample=1, samples=2).to_json())["sections"]
    assert found["Power"] == json.loads(analyse(run, "power", 1).to_json())
    check = json.loads(cross_checked(run, 2).to_json())
    assert found["Cross-check"]["passed"]
    assert found["Cross-check"]["max_voltage_error"] == check["max_voltage_error"]
    dense = json.loads(analyse(run, "noise", 1).to_json())
    np.testing.assert_allclose(found["Noise"]["rms"], dense["rms"], rtol=0.01)
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert found["Accuracy by class"]["accuracy"] == pytest.approx(float(last["test_accuracy"]))
    assert found["Hardware needed"]["crossbar stage1"] == "10 × 5 cells"


def test_without_ngspice_the_others_stay(run, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/nowhere/ngspice")
    page = report(run)
    assert set(page.left_out) == OF_NGSPICE
    assert all("ngspice" in why for why in page.left_out.values())
    assert parsed(page.to_html()).headings == SECTIONS


def test_a_training_that_has_not_begun(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/nowhere/ngspice")
    Run.create(tmp_path / "run", with_values(default_spec("xor"), training={"epochs": 3}))
    page = report(tmp_path / "run")
    assert page.left_out["Learning curve"] == "no epoch is complete yet"
    assert "This training is not finished: 0 of 3 epochs are done." in page.to_html()
    parsed(page.to_html())


def test_what_is_found_beside_the_sections_has_networks_of_its_own(tmp_path, monkeypatch):
    # A network notes what is found in it: its copy fails where it is solved at the same time.
    Run.create(tmp_path / "run", with_values(default_spec("xor"), training={"epochs": 1})).train()
    asked = set()
    for name in ("network", "begun", "chip", "test"):
        own = vars(RunSubject)[name].func
        spied = property(lambda self, own=own: asked.add(threading.current_thread()) or own(self))
        monkeypatch.setattr(RunSubject, name, spied)
    assert not report(tmp_path / "run").left_out
    assert asked == {threading.current_thread()}


def test_a_hopfield_network_has_no_crossbars_to_map(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/nowhere/ngspice")
    spec = parse_spec(
        {"data": {"source": "iris"}, "network": {"kind": "hopfield", "sizes": [4, 3, 3]}, "training": {"epochs": 1}},
        "t",
    )
    Run.create(tmp_path / "run", spec).train()
    page = report(tmp_path / "run")
    assert "crossbars" in page.left_out["Voltage map"]
    assert {"Network", "Accuracy by class", "Hardware needed"}.isdisjoint(page.left_out)
    parsed(page.to_html())


def test_a_netlist_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/nowhere/ngspice")
    (tmp_path / "own.cir").write_text("* divider\nVx x 0 0\nR1 x y 1k\nR2 y 0 1k\n.end\n")
    (tmp_path / "own.csv").write_text("vx [V],y [V]\n1,0.25\n2,0.5\n")
    columns = {"inputs": ["vx"], "outputs": ["y"]}
    circuit = {"trainable": ["R1", "R2"], "bounds": [1e-5, 1e-2]}
    spec = choose_spec(tmp_path / "own.cir", str(tmp_path / "own.csv"), epochs=1, columns=columns, circuit=circuit)
    Run.create(tmp_path / "run", spec).train()
    page = report(tmp_path / "run")
    assert "no classes" in page.left_out["Accuracy by class"]
    drawn = page.to_html().partition('id="network"')[2].partition("</section>")[0]
    assert "<svg" in drawn
    assert "Drawing of" not in drawn
    assert {"What it is", "Network", "Learning curve", "Conductances", "Hardware needed"}.isdisjoint(page.left_out)
    parsed(page.to_html())


def test_a_circuit_is_drawn_up_to_what_a_drawing_holds(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/nowhere/ngspice")
    ladder = "".join(f"R{i} n{i} n{i + 1} 1k\n" for i in range(70))
    (tmp_path / "own.cir").write_text(f"* ladder\nVx n0 0 0\n{ladder}Rl n70 0 1k\n.end\n")
    (tmp_path / "own.csv").write_text("vx [V],n70 [V]\n1,0.1\n")
    columns = {"inputs": ["vx"], "outputs": ["n70"]}
    circuit = {"trainable": ["R1"], "bounds": [1e-5, 1e-2]}
    spec = choose_spec(tmp_path / "own.cir", str(tmp_path / "own.csv"), epochs=1, columns=columns, circuit=circuit)
    Run.create(tmp_path / "run", spec)
    assert "drawn up to 60 elements, found 72" in report(tmp_path / "run").left_out["Network"]


def test_a_run_that_this_version_cannot_read(run, tmp_path):
    shutil.copytree(run, tmp_path / "old")
    (tmp_path / "old" / "spec.toml").write_text('[network]\nsort = "<resistive>"\n')
    text = report(tmp_path / "old").to_html()
    page = parsed(text)
    assert page.headings == ["What it is", "Learning curve", "Versions"]
    assert "This version cannot read the run" in text
    assert "&lt;resistive&gt;" in text


def test_neither_a_run_nor_a_study(tmp_path, capsys):
    with pytest.raises(CheckpointError, match="must be the folder of a run or of a study"):
        report(tmp_path)
    with pytest.raises(SystemExit, match="must be the folder of a run or of a study"):
        main(["report", str(tmp_path), "-o", str(tmp_path / "r.html")])
    assert not (tmp_path / "r.html").exists()


@pytest.mark.pictures
def test_a_study_has_intervals_and_pairs(tmp_path):
    rows = ["write,seed,train_accuracy,test_accuracy,cost,pulses,write_energy,error"]
    for name, values in {"ideal": (0.96, 0.97, 0.98), "pulsed": (0.94, 0.96, 0.965)}.items():
        rows += [f"{name},{seed},1.0,{value},0.1,,," for seed, value in enumerate(values)]
    rows.append("broken,0,,,,,,a <reason>")
    (tmp_path / "results.csv").write_text("\n".join(rows) + "\n")
    page = report(tmp_path)
    parsed(page.to_html())
    found = json.loads(page.to_json())["sections"]
    # Student's t at 97.5 % with two degrees of freedom: 4.30265; the standard error of 96, 97, 98 is 1/√3.
    ideal = found["Results"]["write: ideal"]
    assert ideal["mean"] == pytest.approx(97.0)
    assert ideal["half"] == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    # Differences −2, −1, −1.5: t = −1.5/(0.5/√3) = −5.19615; of two degrees of freedom p = 1 − t/√(2 + t²).
    (pair,) = found["Paired differences"].values()
    assert pair["mean"] == pytest.approx(-1.5)
    assert pair["half"] == pytest.approx(4.302653 * 0.5 / 3**0.5, rel=1e-6)
    t = 1.5 / (0.5 / 3**0.5)
    assert pair["p"] == pytest.approx(1 - t / (2 + t**2) ** 0.5, rel=1e-6)
    assert "a &lt;reason&gt;" in page.to_html()


def test_a_study_of_one_axis_at_a_time(tmp_path):
    shutil.copy(STUDY / "results.csv", tmp_path)
    page = report(tmp_path)
    parsed(page.to_html())
    found = json.loads(page.to_json())["sections"]
    summary = (STUDY / "summary.md").read_text(encoding="utf-8").splitlines()[2:]
    means = [float(line.split("|")[4].split("±")[0]) for line in summary]
    assert [round(each["mean"], 2) for each in found["Results"].values()] == means
    # The nominal combination is the first of each axis; all others differ from it in one.
    assert len(found["Paired differences"]) == len(means) - 1


def test_an_unfinished_study_says_so(run, tmp_path):
    shutil.copytree(run, tmp_path / "cells" / "0123")
    page = report(tmp_path)
    assert "This study is not finished: 0 trainings are complete, 1 begun." in page.to_html()
    (tmp_path / "results.csv").write_text("not a table\n")
    assert "must be the table of a study" in report(tmp_path).left_out["Results"]


def test_wilsons_interval():
    # (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n) by hand, z = 1.959964.
    z, n, p = 1.9599639845, 36, 34 / 36
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    found = Share.of(34, 36)
    assert found.low == pytest.approx((middle - half) / (1 + z**2 / n), rel=1e-9)
    assert found.high == pytest.approx((middle + half) / (1 + z**2 / n), rel=1e-9)
    assert Share.of(0, 0).text == "no samples"


def test_classes_that_are_counted():
    found = class_scores(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 4)
    assert found.confusion.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert found.whole.right == 3
    assert found.plot().axes
    with pytest.raises(StimulusError, match="classes must lie in 0 … 1, found 0 … 2"):
        class_scores(np.array([0, 2]), np.array([0, 1]), 2)


@pytest.mark.parametrize("drive", ["single", "differential"])
def test_a_voltage_map_is_what_kirchhoffs_equations_say(drive):
    network = ResistiveNetwork([3, 4, 4, 2], diode=ShockleyDiode(), drive=drive, dtype=torch.float64)
    inputs = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    circuit = network.circuit()
    volts = solve(circuit, inputs, solver=Newton()).voltages.numpy()
    found = voltage_map(network, inputs)
    groups = circuit.trainable()
    for each in found.crossbars:
        group = groups[each.label]
        first, second = group.ends()
        across = np.zeros(each.volts.size)
        across[group.index] = volts[first] - volts[second]
        np.testing.assert_allclose(each.volts.ravel(), across, rtol=0, atol=1e-9)
        np.testing.assert_allclose(each.amperes, each.siemens * each.volts, rtol=1e-12)
    assert len(plot_voltage_map(network, inputs).axes) == 3 * 3 * 2
    assert set(json.loads(found.to_json())) == {"stage1", "stage2", "stage3"}


def test_a_voltage_map_of_what_has_none():
    network = HopfieldNetwork([2, 3, 1])
    with pytest.raises(StimulusError, match="a voltage map needs crossbars in layers"):
        voltage_map(network, torch.zeros(2))
    crossbars = ResistiveNetwork([2, 3, 1], dtype=torch.float64)
    with pytest.raises(StimulusError, match="shows one sample"):
        voltage_map(crossbars, torch.zeros(5, 2, dtype=torch.float64))
    with pytest.raises(StimulusError, match=r"changes of stage1 must have shape"):
        voltage_map(crossbars, torch.zeros(2, dtype=torch.float64)).with_changes({"stage1": np.zeros(3)})


def test_diodes_lie_on_shockleys_law():
    network = ResistiveNetwork([3, 4, 2], diode=ShockleyDiode(saturation_current=1e-9), dtype=torch.float64)
    circuit = network.circuit()
    state = solve(circuit, torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64), solver=Newton())
    found = characteristics(circuit, state.voltages.numpy())
    assert [each.label for each in found.groups] == ["clamp1_upper", "clamp1_lower"]
    thermal = 1.38064852e-23 * 300.15 / 1.6021766208e-19  # CODATA 2014, as ngspice has them
    for each in found.groups:
        # The GMIN that decks ask for, 1 fS, lies across the junction.
        law = 1e-9 * np.expm1(each.volts / thermal) + 1e-15 * each.volts
        np.testing.assert_allclose(each.amperes, law, rtol=1e-9, atol=1e-18)
    with pytest.raises(StimulusError, match="voltages must be finite"):
        characteristics(circuit, np.zeros(2))


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.pictures
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_a_browser_opens_it_without_a_word(run, tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/nowhere/ngspice")
    report(run).save(tmp_path / "r.html")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    folder = [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=400,900"]
    shown = subprocess.run(
        [str(BROWSER), *options, *folder, (tmp_path / "r.html").as_uri()], capture_output=True, text=True, timeout=120
    )
    assert "CONSOLE" not in shown.stderr
    assert Page(shown.stdout).headings == SECTIONS
