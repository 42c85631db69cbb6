"""Equilibrium propagation and its relatives on handwritten digits: python benchmarks/relatives.py OUT [SEEDS] [EPOCHS].

Writes relatives.json, relatives.md and relatives.png into the folder OUT. Learning rates are chosen on 300 samples held
out of the training part, with a seed of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from analog_ep.theory.relatives import CONTENDERS, Outcome, chosen_rate, compare


def main(out: Path, seeds: int, epochs: int) -> None:
    """Choose learning rates, train, and write what came out."""
    torch.set_num_threads(1)
    rates = []
    for contender in CONTENDERS:
        rates.append(chosen_rate(contender, epochs // 2))
        print(f"{contender.network:<18} {contender.name:<27} learning rate {rates[-1]:g}", flush=True)
    comparison = compare(range(seeds), epochs, rates, _report)
    out.mkdir(parents=True, exist_ok=True)
    (out / "relatives.json").write_text(comparison.to_json(), encoding="utf-8")
    (out / "relatives.md").write_text(comparison.markdown(), encoding="utf-8")
    (out / "relatives.png").write_bytes(comparison.plot())
    print(comparison.markdown())


def _report(outcome: Outcome) -> None:
    print(f"{outcome.network:<18} {outcome.method:<27} {outcome.seed} {outcome.test_accuracy[-1]:.2%}", flush=True)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[2:4]]
    main(Path(sys.argv[1]), *numbers, *(3, 12)[len(numbers) :])
