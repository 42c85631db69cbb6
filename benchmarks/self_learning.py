"""Networks that learn by circuits of their own in ngspice, beside what equilibria predict.

    python benchmarks/self_learning.py learn specs/xor-learns.toml --seeds 5
    python benchmarks/self_learning.py learn specs/iris-learns.toml --seeds 1
    python benchmarks/self_learning.py steps specs/iris-learns.toml
    python benchmarks/self_learning.py flaws specs/iris-learns.toml --seeds 3
    python benchmarks/self_learning.py learn specs/xor-learns.toml --seeds 5 --form twin
    python benchmarks/self_learning.py mismatch specs/xor-learns.toml --seeds 5

`learn` runs the whole deck in ngspice and prints what it learnt, the largest difference of its charges from the
prediction, and seconds. `steps` lets every update circuit make one step in ngspice, and prints the slope of ΔG against
the gradient of equilibrium propagation, and against that of implicit differentiation. `flaws` predicts accuracies with
offsets and gain errors of the update circuits, and with leaking charges. `mismatch` predicts what twins learn whose
conductances differ; with `--form twin` two networks stand side by side.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from analog_ep.circuit import Chip
from analog_ep.circuit.update_cells import UpdateCells
from analog_ep.learning.gradients.implicit import ImplicitDifferentiation
from analog_ep.learning.gradients.propagation import EquilibriumPropagation
from analog_ep.learning.learnt import Learnt
from analog_ep.learning.ngspice_learning import learn_in_ngspice
from analog_ep.learning.self_learning import predict_learning
from analog_ep.netlist.lesson import Lesson
from analog_ep.networks import ConductanceNetwork
from analog_ep.runs.building import build_conductances, build_dataset
from analog_ep.runs.teaching import whole_lesson
from analog_ep.spec import Spec, with_values
from analog_ep.spec.reading import load_spec

_FLAWS = {
    "none": {},
    "offsets of 0.1 mV": {"offset_spread": 1e-4},
    "offsets of 1 mV": {"offset_spread": 1e-3},
    "gain errors of 20 %": {"gain_spread": 0.2},
    "leak of 1 s": {"leak_time": 1.0},
    "leak of 10 ms": {"leak_time": 1e-2},
    "leak of 1 ms": {"leak_time": 1e-3},
    "1 mV, 20 %, 10 ms": {"offset_spread": 1e-3, "gain_spread": 0.2, "leak_time": 1e-2},
}

_SPREADS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Of each conductance of either twin, relative."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("learn", "steps", "flaws", "mismatch"))
    parser.add_argument("spec", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--form", choices=("phases", "twin"), default="phases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    form = "twin" if options.what == "mismatch" else options.form
    spec = with_values(load_spec(options.spec), self_learning={"form": form})
    {"learn": learn, "steps": steps, "flaws": flaws, "mismatch": mismatch}[options.what](spec, options.seeds)


def learn(spec: Spec, seeds: int) -> None:
    for seed in range(seeds):
        network, lesson, trained = taught(spec, seed)
        began = time.perf_counter()
        found = learn_in_ngspice(network, lesson)
        seconds, expected = time.perf_counter() - began, predict_learning(network, lesson)
        worst = max(float(np.abs(found.weights[name] - expected.weights[name]).max()) for name in expected.weights)
        train, test = accuracies(found, lesson, trained)
        print(
            f"seed {seed}: cost {found.costs[0]:.3g} to {found.costs[-1]:.3g}; then {train:.2%} of training and "
            f"{test:.2%} of test samples right, by {lead(found, lesson):.3g} V at least; charges within {worst:.2g} "
            f"V of those predicted; {seconds:.0f} s",
            flush=True,
        )


def steps(spec: Spec, seeds: int) -> None:
    for seed in range(seeds):
        network, lesson, _ = taught(spec, seed)
        sample = int(lesson.order[0, 0])
        one = replace(lesson, order=np.array([[sample]]), examined=np.zeros(0, dtype=int))
        inputs, targets = torch.from_numpy(lesson.inputs[[sample]]), lesson.nudge.target[[sample]]
        nudge, found = lesson.nudge, learn_in_ngspice(network, one)
        propagation = EquilibriumPropagation(network, nudge.strength, nudge.cost, variant="positive", kind=nudge.kind)
        for name, method in (("EP", propagation), ("implicit", ImplicitDifferentiation(network, nudge.cost))):
            _, gradients = method.gradients(inputs, targets)
            for label, siemens in network.conductances.items():
                low, high = network.range_of(label)
                change = found.weights[label] - (siemens.detach().numpy().ravel() - low) / (high - low)
                scale = lesson.rate * (high - low) / network.reference_conductance
                wanted = -scale * gradients[label].numpy().ravel()
                slope = float(change @ wanted / (wanted @ wanted))
                cosine = slope * float(np.linalg.norm(wanted) / np.linalg.norm(change))
                print(f"seed {seed}, {label}: slope against {name} {slope:.5f}, cosine {cosine:.7f}")


def flaws(spec: Spec, seeds: int) -> None:
    for words, values in _FLAWS.items():
        found = []
        for seed in range(seeds):
            network, lesson, trained = taught(spec, seed)
            cells = UpdateCells(**{"seed": seed, "leak_time": math.inf} | values)
            learnt = predict_learning(network, replace(lesson, cells=cells))
            found.append((*accuracies(learnt, lesson, trained), learnt.costs[-1]))
        train, test, cost = np.array(found).T
        print(
            f"{words}: train {train.mean():.2%}, test {test.mean():.2%} (± {test.std():.2%}), last cost "
            f"{cost.mean():.3g}",
            flush=True,
        )


def mismatch(spec: Spec, seeds: int) -> None:
    for spread in _SPREADS:
        found = []
        for seed in range(seeds):
            network, lesson, trained = taught(spec, seed)
            first, second = (Chip.draw(network.circuit(), seed=2 * seed + n, siemens=spread) for n in (0, 1))
            learnt = predict_learning(network, lesson, replace(first, twin=second))
            found.append((accuracies(learnt, lesson, trained)[0], lead(learnt, lesson)))
        right, least = np.array(found).T
        shown = ", ".join(f"{value:.3f}" for value in least)
        print(f"twins that differ by {spread:.2%}: {right.mean():.1%} right, leads at least {shown} V", flush=True)


def taught(spec: Spec, seed: int) -> tuple[ConductanceNetwork, Lesson, int]:
    """The network with a seed's initial charges, its lesson, and the number of training samples."""
    spec = with_values(spec, training={"seed": seed})
    network = build_conductances(spec, torch.float64)
    return network, whole_lesson(spec, network, spec.training.epochs), len(build_dataset(spec).train_labels)


def accuracies(learnt: Learnt, lesson: Lesson, trained: int) -> tuple[float, float]:
    """Of the training and the test samples, by what is examined last."""
    right = learnt.outputs.argmax(1) == lesson.nudge.target.numpy().argmax(1)
    return float(right[:trained].mean()), float(right[trained:].mean())


def lead(learnt: Learnt, lesson: Lesson) -> float:
    """By how much the true output is larger than the next, in the sample where it is least. [V]"""
    true = lesson.nudge.target.numpy().argmax(1)
    others = learnt.outputs.copy()
    others[np.arange(len(true)), true] = -np.inf
    return float((learnt.outputs[np.arange(len(true)), true] - others.max(1)).min())


if __name__ == "__main__":
    main()
