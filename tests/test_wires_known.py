"""Training that knows the wires, and training that does not, on one hardware; segment resistance as a study's axis."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import pytest
import torch

from analog_ep import Newton, ResistiveNetwork, solve
from analog_ep.errors import SpecError
from analog_ep.runs.folder import Run
from analog_ep.spec import Spec, parse_spec
from analog_ep.spec.study import load_study
from analog_ep.studies.grid import run_study

SPEC = """
[data]
source = "iris"
input_voltage = 4.0

[network]
sizes = [4, 6, 3]

[gradient]
method = "small_signal"

[training]
epochs = 2
batch_size = 20
seed = 3
"""
WIRES = "\n[wires]\nrow_resistance = 200.0\ncolumn_resistance = 200.0\n"


def spec_of(text: str) -> Spec:
    return parse_spec(tomllib.loads(text), "test.toml")


def trained(text: str, folder: Path) -> Run:
    run = Run.create(folder, spec_of(text))
    run.train()
    return run


def thetas(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in run.trainer.network.named_parameters()}


def test_what_does_not_know_its_wires_learns_as_ideal_ones_do_and_is_judged_with_them(tmp_path: Path):
    ideal, blind, aware = (
        trained(SPEC + wires, tmp_path / name)
        for name, wires in (("ideal", ""), ("blind", WIRES + "known = false\n"), ("aware", WIRES))
    )
    without, unaware, known = map(thetas, (ideal, blind, aware))
    for name, theta in without.items():
        assert torch.equal(theta, unaware[name])
        assert not torch.equal(theta, known[name])
    # Accuracies are of the circuit with its segments.
    (inputs, labels), network = blind.trainer._test, blind.trainer.network
    assert isinstance(network, ResistiveNetwork)
    assert "stage1_rows" in {group.label for group in network.circuit().groups}
    outputs = solve(network, inputs.double(), solver=Newton()).outputs
    share = int(torch.eq(outputs.argmax(1), labels).sum()) / len(labels)
    assert blind.trainer.history[-1].test_accuracy == pytest.approx(share)
    at_ideal = solve(ideal.trainer.network, inputs.double(), solver=Newton()).outputs
    assert (outputs - at_ideal).abs().max() > 1e-3


class Stop:
    """Ends a training after its first epoch."""

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    def epoch_done(self, record: object) -> None:
        pass


def test_it_is_resumed_to_the_same_bits(tmp_path: Path):
    text = SPEC + WIRES + "known = false\n"
    whole = trained(text, tmp_path / "whole")
    first = Run.create(tmp_path / "part", spec_of(text))
    with pytest.raises(KeyboardInterrupt):
        first.train([Stop()])
    again = Run.resume(tmp_path / "part")
    assert len(again.trainer.history) == 1
    again.train()
    for name, theta in thetas(whole).items():
        assert torch.equal(theta, thetas(again)[name])


@pytest.mark.parametrize(
    "table", ["\n[chip]\nconductance_spread = 0.1\n", "\n[converters]\ndac_bits = 8\ndac_range = 5.0\n"]
)
def test_a_chip_has_known_wires(table: str):
    with pytest.raises(SpecError, match=r"wires\.known must be true with \[chip\] or \[converters\], found false"):
        spec_of(SPEC + WIRES + "known = false\n" + table)


def test_a_study_has_resistance_and_knowledge_as_axes(tmp_path: Path):
    (tmp_path / "base.toml").write_text(SPEC)
    ohms = "".join(
        f'[axes.ohms."{value}"]\nwires = {{ row_resistance = {value}, column_resistance = {value} }}\n'
        for value in (1.0, 500.0)
    )
    knows = "".join(
        f'[axes.wires."{k}"]\nwires = {{ known = {v} }}\n' for k, v in (("known", "true"), ("not", "false"))
    )
    (tmp_path / "study.toml").write_text(f'base = "base.toml"\nseeds = [0]\n{ohms}{knows}')
    run_study(load_study(tmp_path / "study.toml"), tmp_path / "out", 1)
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert len({row["cost"] for row in rows}) >= 3
