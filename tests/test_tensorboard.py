"""Event files of a run, read back by TensorBoard itself, against the run's own tables."""

import csv
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analog_ep.cli import app
from analog_ep.errors import SpecError
from analog_ep.learning.training import EpochRecord, TrainingObserver
from analog_ep.runs.folder import DEVICES, METRICS, Run
from analog_ep.runs.tensorboard import FOLDER, TensorBoard
from analog_ep.spec import default_spec, parse_spec, with_values

installed = pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not on this machine")


def test_without_the_package_there_is_one_line_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SpecError, match=r"need the package tensorboard, found none; install it, pip install 'analog"):
        TensorBoard(Run.create(tmp_path / "other", with_values(default_spec("xor"), training={"epochs": 1})))
    done = CliRunner().invoke(app, ["train", "--data", "xor", "--tensorboard", "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, SpecError)
    assert not (tmp_path / "run").exists()
    Run.resume(tmp_path / "other").train()


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every scalar that TensorBoard shows."""
    board = seen(folder)
    return {tag: [(each.step, each.value) for each in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def seen(folder: Path):
    reader = import_module("tensorboard.backend.event_processing.event_accumulator")
    return reader.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def table(path: Path, prefix: str = "", **which: str) -> dict[str, list[tuple[int, float]]]:
    """The same of a table of the run; TensorBoard keeps single precision."""
    found: dict[str, list[tuple[int, float]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            if all(row[name] == value for name, value in which.items()):
                for name in row.keys() - {"epoch", "parameter"}:
                    if row[name]:
                        found.setdefault(prefix + name, []).append((int(row["epoch"]), float(np.float32(row[name]))))
    return found


class Stopper(TrainingObserver):
    def __init__(self, run: Run, epoch: int, error: type[BaseException] | None = None):
        self.run, self.epoch, self.error = run, epoch, error

    def epoch_done(self, record: EpochRecord) -> None:
        if record.epoch == self.epoch:
            if self.error is not None:
                raise self.error
            self.run.trainer.stop()


@installed
def test_the_scalars_are_those_of_metrics_and_devices(tmp_path):
    update = {"update": {"device": "EcRam", "scheme": "tiki_taka"}}
    spec = parse_spec(default_spec("xor").to_dict() | update, "test")
    run = Run.create(tmp_path / "run", with_values(spec, training={"epochs": 3}))
    with TensorBoard(run) as board:
        run.train([board])
    names = sorted(name for name, _ in run.trainer.network.named_parameters())
    expected = table(run.path / METRICS)
    for name in names:
        expected |= table(run.path / DEVICES, f"devices/{name}/", parameter=name)
    assert len(names) == 2
    assert expected["devices/stage1/energy"][2][1] > 0
    assert points(run.path / FOLDER) == expected


@installed
def test_samples_with_targets_have_costs_and_no_accuracies(tmp_path):
    (tmp_path / "table.csv").write_text("a [V],b [V],y [V]\n0,0,0\n0,1,1\n1,0,1\n1,1,0\n")
    data = {"table": str(tmp_path / "table.csv"), "inputs": ["a", "b"], "outputs": ["y"]}
    spec = parse_spec({"data": data, "network": {"sizes": [2, 3, 1]}, "training": {"epochs": 2}}, "test")
    run = Run.create(tmp_path / "run", spec)
    with TensorBoard(run, tmp_path / "events") as board:
        run.train([board])
    found = points(tmp_path / "events")
    assert found.keys() == {"cost", "test_cost", "seconds"}
    assert found == table(run.path / METRICS)


@installed
@pytest.mark.parametrize("ended", ["interrupted", "stopped", "without events", "lost"])
def test_a_run_that_goes_on_has_every_epoch_once(tmp_path, ended):
    run = Run.create(tmp_path / "run", with_values(default_spec("xor"), training={"epochs": 5}))
    if ended == "without events":
        run.train([Stopper(run, 2)])
    elif ended == "lost":
        # The third epoch is written, and its checkpoint goes missing.
        with TensorBoard(run) as board:
            run.train([Stopper(run, 2), board])
            kept = {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
            run.train([board, Stopper(run, 3)])
        for path, content in kept.items():
            path.write_bytes(content)
    else:
        error = KeyboardInterrupt if ended == "interrupted" else None
        try:
            with TensorBoard(run) as board:
                run.train([board, Stopper(run, 2, error)])
        except KeyboardInterrupt:
            assert ended == "interrupted"
        assert [step for step, _ in points(run.path / FOLDER)["cost"]] == [1, 2]
    resumed = Run.resume(run.path)
    assert resumed.trainer.epoch == 2
    with TensorBoard(resumed) as board:
        resumed.train([board])
    found = points(run.path / FOLDER)
    assert found == table(run.path / METRICS)
    assert [step for step, _ in found["cost"]] == [1, 2, 3, 4, 5]
    times = [each.wall_time for each in seen(run.path / FOLDER).Scalars("cost")]
    assert times == sorted(times)
    lengths = [value for _, value in found["seconds"]]
    assert times[1] - times[0] == pytest.approx(lengths[1], rel=1e-3)


@installed
def test_the_command_writes_them_with_spec_and_hyper_parameters(tmp_path):
    messages = import_module("tensorboard.plugins.hparams.plugin_data_pb2")
    out = tmp_path / "run"
    words = ["train", "--data", "xor", "--epochs", "2", "--seed", "7", "--tensorboard", "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert points(out / FOLDER) == table(out / METRICS)
    board = seen(out / FOLDER)
    content = {
        tag: messages.HParamsPluginData.FromString(board.SummaryMetadata(f"_hparams_/{tag}").plugin_data.content)
        for tag in ("experiment", "session_start_info", "session_end_info")
    }
    given = content["session_start_info"].session_start_info.hparams
    assert given["training.seed"].number_value == 7
    assert given["training.learning_rate"].number_value == 0.02
    assert given["training.schedule"].string_value == "constant"
    assert given["diode.0.saturation_current"].number_value == 1e-9
    metrics = {each.name.tag for each in content["experiment"].experiment.metric_infos}
    assert metrics == {"train_accuracy", "test_accuracy", "cost"}
    (text,) = board.Tensors("spec/text_summary")
    lines = text.tensor_proto.string_val[0].decode().splitlines()
    assert tomllib.loads("\n".join(line[4:] for line in lines)) == tomllib.loads((out / "spec.toml").read_text())
