"""Accuracy of a trained run's exported circuit where ngspice cannot solve every test image: a bound on each instead.

    python benchmarks/deep_netlist.py RUN --newton 3 --ngspice 1

The circuit that `export` writes (stand-ins in place of ideal diodes, float64) is solved for all test images by
relaxation, and each state is given a bound on its distance from the circuit's exact solution, which no sweep enters:
Kirchhoff's law of the circuit's own branches, and the inverse of its matrix. An image's class is certain where the
largest output leads by more than four times the bound. Newton's method from 0 V, and ngspice, then solve some of the
images on their own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from analog_ep.equilibrium import Newton, Ngspice, solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.nodal.error_bound import Stimulus
from analog_ep.equilibrium.nodal.newton import error_bounds
from analog_ep.runs.building import build_dataset, build_solver
from analog_ep.runs.trained import test_samples, trained_network

_PART = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, help="first test images, by default all")
    parser.add_argument("--newton", type=int, default=0, metavar="N", help="images that Newton solves from 0 V")
    parser.add_argument("--ngspice", type=int, default=0, metavar="N", help="images that ngspice solves")
    parser.add_argument("--nodeset", action="store_true", help="ngspice begins at the relaxed state")
    parser.add_argument("--at-once", type=int, default=5, metavar="N", help="images of a run, after which it tells")
    parser.add_argument("--processes", type=int, default=1, help="of ngspice")
    options = parser.parse_args()
    spec, trained = trained_network(options.run, torch.float32)
    built = trained.as_built()
    labels = build_dataset(spec).test_labels
    count = options.images or len(labels)
    inputs, _ = test_samples(spec, trained, slice(0, count), None)
    labels, exact = labels[:count], inputs.double()
    found = {"images": count, **_relaxed(spec, trained, built, inputs, exact, labels)}
    for name, number, solver in (
        ("newton", options.newton, Newton()),
        (
            "ngspice",
            options.ngspice,
            Ngspice(reduced=True, nodeset=options.nodeset, processes=options.processes, timeout=None),
        ),
    ):
        if number:
            nodeset = options.nodeset and name == "ngspice"
            found[name] = _solved(name, built, exact[:number], labels[:number], solver, options.at_once, nodeset)
    print(json.dumps(found, indent=1))


def _relaxed(spec, trained, built, inputs, exact, labels) -> dict[str, object]:
    ours, theirs, certain, bounds = [], [], [], []
    judge = error_bounds(built.circuit())
    for begin in range(0, len(inputs), _PART):
        part = slice(begin, begin + _PART)
        ours.append(solve(trained, inputs[part], solver=build_solver(spec)).outputs.argmax(1))
        state = solve(built, exact[part], solver=Relaxation(rtol=1e-13))
        top = state.outputs.topk(2).values
        # The bound that costs a product of matrices a batch; `voltage_error_bound` would go on to better ones.
        bounds.append(torch.from_numpy(judge.far(Stimulus(exact[part].numpy()), state.voltages.numpy())))
        theirs.append(state.outputs.argmax(1))
        # An output is a difference of two nodes.
        certain.append(top[:, 0] - top[:, 1] > 4 * bounds[-1])
    ours, theirs, certain, bound = (torch.cat(parts) for parts in (ours, theirs, certain, bounds))
    return {
        "accuracy_trained": float((ours == labels).double().mean()),
        "accuracy_exported": float((theirs == labels).double().mean()),
        "classes_differ": int((ours != theirs).sum()),
        "classes_certain": int(certain.sum()),
        "largest_error_bound": float(bound.max()),
    }


def _solved(name, built, inputs, labels, solver, at_once, nodeset) -> dict[str, object]:
    seconds, right, differ, farthest, converged, done = 0.0, 0, 0, 0.0, 0, 0
    found: dict[str, object] = {}
    for part, classes in zip(inputs.split(at_once), labels.split(at_once), strict=True):
        relaxed = solve(built, part, solver=Relaxation(rtol=1e-13))
        began = time.perf_counter()
        # Newton's and, without nodesets, ngspice's search is their own: from 0 V.
        state = solve(built, part, solver=solver, start=relaxed if nodeset else None, throw=False)
        seconds += time.perf_counter() - began
        done += len(part)
        converged += int(state.converged.sum())
        right += int((state.outputs.argmax(1) == classes).sum())
        differ += int((state.outputs.argmax(1) != relaxed.outputs.argmax(1)).sum())
        farthest = max(farthest, float((state.voltages - relaxed.voltages).abs().max()))
        found = {"images": done, "converged": converged, "right": right, "classes_differ": differ}
        found |= {"largest_difference": farthest, "seconds_per_image": seconds / done}
        print(name, json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    main()
