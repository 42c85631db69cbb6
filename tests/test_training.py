"""The training loop and the run folder, against PyTorch's own scheduler, a step by hand, and an uninterrupted run."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from resistive import resistive, resistive_network

from analog_ep.errors import CheckpointError, ConvergenceError, DataError, NetworkError, SpecError
from analog_ep.learning.training import EpochRecord, Trainer, TrainingObserver, accuracy, predictions
from analog_ep.netlist.conductance_table import read_conductances, write_conductances
from analog_ep.runs.building import build_dataset, build_gradient, build_update
from analog_ep.runs.choosing import CHECKPOINT, SPEC, choose_spec
from analog_ep.runs.folder import CURVE, METRICS, Run
from analog_ep.runs.progress import learning_curve
from analog_ep.spec import Spec, default_spec, parse_spec, with_values


class Silent:
    """An observer that stops the training by Ctrl-C after some batches."""

    def __init__(self, interrupt_after: float = math.inf):
        self.batches, self.records, self._limit = 0, [], interrupt_after

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        self.batches += 1
        if self.batches >= self._limit:
            raise KeyboardInterrupt

    def epoch_done(self, record: EpochRecord) -> None:
        self.records.append(record)


def xor(**training: Any) -> Spec:
    """The shipped spec, shortened, with ideal diodes, which are solved fastest."""
    tables = default_spec("xor").to_dict() | {"diode": {"model": "ideal", "upper": 0.3, "lower": -0.3}}
    tables["training"] |= {"epochs": 4, "batch_size": 2, "seed": 3, **training}
    return parse_spec(tables, "test")


def trainer_of(spec: Spec) -> Trainer:
    network, training = resistive_network(spec), spec.training
    return Trainer(
        network,
        build_gradient(spec, network),
        build_update(spec, network),
        build_dataset(spec),
        batch_size=training.batch_size,
        epochs=training.epochs,
        schedule=training.schedule,
        seed=training.seed,
    )


def parameters(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in run.trainer.network.named_parameters()}


def test_one_full_batch_of_sgd_is_the_step_done_by_hand():
    spec = xor(epochs=1, batch_size=4, optimizer="sgd", learning_rate=1e-3, dtype="float64", schedule="constant")
    trainer, network, dataset = trainer_of(spec), resistive_network(spec), build_dataset(spec)
    trainer.train(Silent())
    method = build_gradient(spec, network)
    targets = method.cost.encode(dataset.train_labels, 2, like=network.get_parameter("stage1"))
    cost = method.backward(dataset.train_inputs.double(), targets)
    low, high = (bound / network.reference_conductance for bound in network.conductance_range)
    assert trainer.history[0].cost == pytest.approx(float(cost), rel=1e-9)
    for name, value in network.named_parameters():
        assert value.grad is not None
        expected = (value - 1e-3 * value.grad).clamp(low, high)
        torch.testing.assert_close(trainer.network.get_parameter(name), expected, rtol=1e-9, atol=0)


def test_cosine_rates_are_those_of_pytorchs_scheduler():
    trainer = trainer_of(xor(epochs=3, schedule="cosine", learning_rate=[0.1, 0.02]))
    found: list[list[float]] = []
    step = trainer.update.step
    trainer.update.step = lambda: (found.append([g["lr"] for g in trainer.update.param_groups]), step())[1]
    trainer.train(Silent())
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.1, 0.02)]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    for rates in found:
        assert rates == pytest.approx([group["lr"] for group in optimizer.param_groups], rel=1e-9)
        optimizer.step()
        scheduler.step()
    assert len(found) == 6


def test_every_sample_is_met_once_an_epoch_in_an_order_of_its_own():
    trainer = trainer_of(with_values(default_spec("iris"), training={"batch_size": 7, "epochs": 2}))
    orders = []
    for done in range(2):
        trainer.history = [EpochRecord(1, 0.0, 0.0, 0.0, 0.0)] * done
        orders.append(torch.cat(list(trainer._shuffled())))
        assert sorted(orders[-1].tolist()) == list(range(120))
    assert not torch.equal(*orders)
    assert trainer.n_batches == 18


def test_inputs_have_noise_of_the_size_that_the_spec_says(tmp_path: Path):
    met = []
    for share in (0.0, 0.2):
        tables = {"data": {"input_voltage": 3.0}, "training": {"epochs": 12, "batch_size": 120, "input_noise": share}}
        run = Run.create(tmp_path / f"{share}", with_values(default_spec("iris"), **tables))
        seen: list[torch.Tensor] = []

        def record(inputs: torch.Tensor, targets: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
            seen.append(inputs)
            return inputs.new_zeros(())

        run.trainer.gradient.backward = record
        run.trainer.train(Silent())
        met.append(torch.stack(seen))
    noise = met[1] - met[0]
    # 0.2 of a feature's unit, which is 3 V; 5760 numbers.
    assert noise.std().item() == pytest.approx(0.6, rel=0.04)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.04)
    assert torch.corrcoef(noise.flatten(1)).triu(1).abs().max().item() < 0.25


def test_accuracy_counts_the_largest_output():
    spec = xor()
    network, dataset = resistive_network(spec), build_dataset(spec)
    found = predictions(network, dataset.test_inputs)
    assert accuracy(network, dataset.test_inputs, found) == 1.0
    assert accuracy(network, dataset.test_inputs, 1 - found) == 0.0


def test_xor_is_learnt_and_conductances_stay_in_range():
    trainer = trainer_of(xor(epochs=60, batch_size=4))
    trainer.train(Silent())
    low, high = resistive(trainer.network).conductance_range
    assert trainer.history[-1].test_accuracy == 1.0
    assert trainer.history[-1].cost < 0.2 * trainer.history[0].cost
    for siemens in resistive(trainer.network).conductances.values():
        assert low * (1 - 1e-6) <= float(siemens.min())
        assert float(siemens.max()) <= high * (1 + 1e-6)


@pytest.mark.pictures
def test_a_run_folder_holds_all_its_files(tmp_path: Path):
    run, observer = Run.create(tmp_path / "deep" / "run", xor()), Silent()
    run.train([observer])
    assert {path.name for path in run.path.iterdir()} == {SPEC, CHECKPOINT, METRICS, CURVE}
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]
    with (run.path / METRICS).open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "train_accuracy", "test_accuracy", "cost", "seconds"]
    assert [EpochRecord(int(r.pop("epoch")), **{k: float(v) for k, v in r.items()}) for r in rows] == observer.records
    assert (run.path / CURVE).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("values", "interrupt_after"),
    [
        ({"training": {"optimizer": "adam", "schedule": "cosine"}}, 5),
        ({"training": {"optimizer": "adam"}}, 4),
        ({"training": {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9}}, 7),
        ({"training": {"optimizer": "sgd", "learning_rate": 0.01}}, 1),
        ({"gradient": {"variant": "random"}}, 5),
    ],
)
def test_a_resumed_run_ends_in_the_very_bits_of_an_uninterrupted_one(
    tmp_path: Path, values: dict[str, Any], interrupt_after: int
):
    spec = with_values(xor(), **values)
    straight = Run.create(tmp_path / "straight", spec)
    straight.train()
    broken = Run.create(tmp_path / "broken", spec)
    with pytest.raises(KeyboardInterrupt):
        broken.train([Silent(interrupt_after)])
    resumed = Run.resume(tmp_path / "broken")
    assert resumed.trainer.epoch == (interrupt_after - 1) // 2
    resumed.train()
    for name, value in parameters(straight).items():
        assert torch.equal(value, resumed.trainer.network.get_parameter(name))
    histories = [[replace(r, seconds=0.0) for r in run.trainer.history] for run in (straight, resumed)]
    assert histories[0] == histories[1]


def test_a_finished_run_may_be_made_longer(tmp_path: Path):
    spec = xor(epochs=2, schedule="constant")
    longer = with_values(spec, training={"epochs": 4})
    straight = Run.create(tmp_path / "straight", longer)
    straight.train()
    Run.create(tmp_path / "short", spec).train()
    resumed = Run.resume(tmp_path / "short", longer)
    resumed.train()
    assert Run.resume(tmp_path / "short").spec.training.epochs == 4
    for name, value in parameters(straight).items():
        assert torch.equal(value, resumed.trainer.network.get_parameter(name))


class StopsAt(TrainingObserver):
    """Overrides one method alone."""

    def __init__(self, run: Run, epoch: int):
        self.run, self.epoch = run, epoch

    def epoch_done(self, record: EpochRecord) -> None:
        if record.epoch == self.epoch:
            self.run.trainer.stop()


def test_a_training_that_an_observer_stops_ends_in_order_and_goes_on(tmp_path: Path):
    straight = Run.create(tmp_path / "straight", xor())
    straight.train()
    run, others = Run.create(tmp_path / "run", xor()), Silent()
    run.train([StopsAt(run, 3), others])
    assert [record.epoch for record in others.records] == [1, 2, 3]
    assert (run.path / CURVE).is_file()
    assert len((run.path / METRICS).read_text().splitlines()) == 4
    run.train([others])
    assert [record.epoch for record in others.records] == [1, 2, 3, 4]
    for name, value in parameters(straight).items():
        assert torch.equal(value, run.trainer.network.get_parameter(name))


def test_metrics_lost_between_two_files_come_back_on_resume(tmp_path: Path):
    run = Run.create(tmp_path / "run", xor())
    run.train()
    whole = (run.path / METRICS).read_text()
    (run.path / METRICS).write_text(whole[:30])
    Run.resume(tmp_path / "run")
    assert (run.path / METRICS).read_text() == whole


def test_an_existing_folder_is_not_touched(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with pytest.raises(CheckpointError, match=r"the run folder .*run must be new, found it there; add --resume"):
        Run.create(tmp_path / "run", xor())
    assert not any((tmp_path / "run").iterdir())


def test_bad_data_leaves_no_folder(tmp_path: Path):
    with pytest.raises(DataError, match="data must be digits, iris"):
        Run.create(tmp_path / "run", with_values(xor(), data={"source": "nothing"}))
    with pytest.raises(SpecError, match=r"device must be one that PyTorch can use here, found 'abacus' .*; try cpu"):
        Run.create(tmp_path / "run", xor(), device="abacus")
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_completed_is_removed(tmp_path: Path, monkeypatch):
    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(Run, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        Run.create(tmp_path / "run", xor())
    assert not any(tmp_path.iterdir())


def test_resume_needs_a_run_and_its_own_spec(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"must be a run folder, found no spec.toml in it"):
        Run.resume(tmp_path / "run")
    Run.create(tmp_path / "run", xor())
    with pytest.raises(CheckpointError, match=r"the spec it began with, found another training.learning_rate, trainin"):
        Run.resume(tmp_path / "run", xor(learning_rate=0.5, seed=9))
    path = tmp_path / "run" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="must be a whole checkpoint, found a damaged one"):
        Run.resume(tmp_path / "run")


def test_a_cost_that_is_not_finite_stops_the_training(monkeypatch):
    trainer = trainer_of(xor())
    monkeypatch.setattr(trainer.gradient, "backward", lambda *_: torch.tensor(math.nan))
    with pytest.raises(ConvergenceError, match="the cost must stay finite, found nan in epoch 1"):
        trainer.train(Silent())


def test_choose_spec_prefers_what_is_asked_for(tmp_path: Path):
    assert choose_spec(None) == default_spec("digits")
    assert choose_spec(None, "iris", seed=7, epochs=2).training.seed == 7
    folder = choose_spec(None, str(tmp_path))
    assert (folder.data.source, folder.network.sizes) == (str(tmp_path), default_spec("mnist").network.sizes)
    assert choose_spec(None, stored=xor()) == xor()
    (tmp_path / "own.toml").write_text(xor().to_toml())
    assert choose_spec(tmp_path / "own.toml", epochs=9).training.epochs == 9


def test_a_run_begins_from_a_conductance_table_to_the_bit(tmp_path: Path):
    trained = Run.create(tmp_path / "first", xor())
    trained.train()
    rows = write_conductances(resistive(trained.trainer.network), tmp_path / "g.csv")
    assert rows == sum(value.numel() for value in trained.trainer.network.parameters())
    second = Run.create(tmp_path / "second", xor(seed=8), start=tmp_path / "g.csv")
    for name, value in parameters(trained).items():
        assert torch.equal(value, parameters(second)[name])


def test_the_table_names_the_elements_of_the_netlist(tmp_path: Path):
    network = resistive_network(xor())
    write_conductances(network, tmp_path / "g.csv")
    with (tmp_path / "g.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["branch"] == "r_stage1_0"
    group = network.circuit().trainable()["stage1"]
    siemens = network.conductances["stage1"]
    names = network.circuit().node_names
    for i, row in enumerate(rows[: siemens.numel()]):
        assert (row["positive"], row["negative"]) == (names[group.positive[i]], names[group.negative[i]])
        assert float(row["siemens"]) == pytest.approx(float(siemens.flatten()[int(row["index"])]), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("siemens", "ohms", 1), "must have the columns .* found no siemens"),
        (
            lambda text: text.replace("stage1,0,", "stage9,0,"),
            "parameter must be one of stage1, stage2, found 'stage9'",
        ),
        (lambda text: text.replace("stage1,0,", "stage1,999,"), "index of stage1 must lie in 0…47, found 999"),
        (
            lambda text: text.replace("stage1,0,", "stage1,8,"),
            "each conductance must have one value, found stage1 8 again",
        ),
        (
            lambda text: text.replace("stage1,0,", "stage1,x,"),
            "index must be an integer and siemens a number, found 'x'",
        ),
        (lambda text: text[: text.rindex("r_stage2")], "must hold every conductance, found no stage2 "),
    ],
)
def test_broken_tables(tmp_path: Path, change: Any, words: str):
    network, path = resistive_network(xor()), tmp_path / "g.csv"
    write_conductances(network, path)
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=words):
        read_conductances(network, path)


def test_conductances_out_of_range_set_nothing(tmp_path: Path):
    network, path = resistive_network(xor()), tmp_path / "g.csv"
    write_conductances(network, path)
    lines = path.read_text().splitlines()
    lines[5] = ",".join([*lines[5].split(",")[:-1], "0.5"])
    path.write_text("\n".join(lines))
    with pytest.raises(NetworkError, match=r"stage1: conductances must lie in 1e-07…0.0001 S, found 0.5"):
        Run.create(tmp_path / "run", xor(), start=path)
    assert not (tmp_path / "run").exists()


@pytest.mark.pictures
def test_learning_curves_of_one_epoch_and_of_a_solved_problem():
    record = EpochRecord(1, 1.0, 1.0, 0.0, 0.1)
    assert learning_curve([record], "one").startswith(b"\x89PNG")
