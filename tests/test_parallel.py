"""Training by several processes gives what one process gives."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from analog_ep import CrossEntropy, ResistiveNetwork, ShockleyDiode, SmallSignal
from analog_ep.errors import ParallelError, SpecError
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.learning.parallel import DataParallel, Ranks
from analog_ep.runs.folder import CHECKPOINT, METRICS, Run
from analog_ep.spec import default_spec, with_values


@pytest.mark.parametrize(("samples", "size"), [(10, 3), (2, 3), (7, 1)])
def test_shares_cover_a_batch_once(samples: int, size: int):
    shares = [list(range(samples))[Ranks(rank, size).share(samples)] for rank in range(size)]
    assert [sample for share in shares for sample in share] == list(range(samples))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


class _Recorded(Ranks):
    """Takes the place of a group of processes: keeps what each would add."""

    def add(self, *values: torch.Tensor) -> None:
        pass


@pytest.mark.parametrize("samples", [2, 7])
def test_shares_add_up_to_the_whole_batch(samples: int):
    network = ResistiveNetwork([5, 6, 3], diode=ShockleyDiode(), seed=1, dtype=torch.float64)
    method = SmallSignal(network, CrossEntropy(0.1))
    generator = torch.Generator().manual_seed(2)
    inputs = torch.rand(samples, 5, generator=generator, dtype=torch.float64)
    targets = torch.eye(3, dtype=torch.float64)[torch.arange(samples) % 3]
    cost, whole = method.gradients(inputs, targets)
    parts = [DataParallel(method, _Recorded(rank, 3)).gradients(inputs, targets) for rank in range(3)]
    torch.testing.assert_close(sum(part for part, _ in parts), cost, rtol=1e-12, atol=0)
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for _, part in parts), value, rtol=1e-10, atol=1e-18)


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Ranks.join() == Ranks(0, 1)


CHILD = """
import os, subprocess, sys, time
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, "-c", open(__file__).read(), str(os.getpid())])
    time.sleep(60)
from analog_ep.learning.parallel import end_with
end_with(int(sys.argv[1]))
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_process_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    # The child holds the pipe too: its end is the pipe's.
    begin = time.monotonic()
    assert parent.stdout.read() == b""
    assert time.monotonic() - begin < 10
    parent.communicate()


def test_a_lost_process_is_one_line(monkeypatch):
    def lost(*_):
        raise RuntimeError("[gloo] Connection closed by peer\nException raised from waitForInput")

    monkeypatch.setattr(torch.distributed, "all_reduce", lost)
    monkeypatch.setattr(torch.distributed, "barrier", lost)
    words = (
        r"^all processes .* must stay, found one lost: \[gloo\] Connection closed by peer; train again with --resume$"
    )
    for call in (lambda: Ranks(0, 2).add(torch.ones(1)), Ranks(0, 2).wait):
        with pytest.raises(ParallelError, match=words):
            call()


def test_processes_that_cannot_meet(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SpecError, match=r"must reach one another, found: .* start them with torchrun"):
        Ranks.join()


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_processes_do_not_share_a_cuda_device(monkeypatch, device: str):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SpecError, match=f"CUDA device of its own, found '{device}' and 1 devices"):
        Ranks.join(device)


def test_two_processes_train_to_the_same_conductances(tmp_path: Path):
    spec = with_values(default_spec("iris"), training={"epochs": 2, "dtype": "float64", "input_noise": 0.1})
    (tmp_path / "tiny.toml").write_text(spec.to_toml())
    Run.create(tmp_path / "alone", spec).train()
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    command = [sys.executable, *launcher, "--master-addr=127.0.0.1", "-m", "analog_ep", "train", "tiny.toml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, "--out", "both"], capture_output=True, text=True, timeout=240, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder:") == 1
    alone, both = (Checkpoint.load(tmp_path / name / CHECKPOINT).tensors for name in ("alone", "both"))
    assert alone.keys() == both.keys()
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=1e-9, atol=1e-12)
    metrics = [(tmp_path / name / METRICS).read_text().splitlines() for name in ("alone", "both")]
    accuracies = [[row.split(",")[:3] for row in rows] for rows in metrics]
    assert accuracies[0] == accuracies[1]
