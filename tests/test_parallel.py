"""Training by several processes gives what one process gives."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from analog_ep import CrossEntropy, ResistiveNetwork, ShockleyDiode, SmallSignal
from analog_ep.errors import SpecError
from analog_ep.learning.parallel import DataParallel, Ranks


@pytest.mark.parametrize(("samples", "size"), [(10, 3), (2, 3), (7, 1)])
def test_shares_cover_a_batch_once(samples: int, size: int):
    shares = [list(range(samples))[Ranks(rank, size).share(samples)] for rank in range(size)]
    assert sum(shares, []) == list(range(samples))
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


def test_processes_that_cannot_meet(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SpecError, match="must reach one another, found: .* start them with torchrun"):
        Ranks.join()
