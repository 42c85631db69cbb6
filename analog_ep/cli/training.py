"""Commands that train: `train` and `demo`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from analog_ep.cli.app import app, console, interrupted
from analog_ep.cli.designs import design_spec, is_design, is_netlist, train_design
from analog_ep.errors import NgspiceNotFoundError
from analog_ep.learning.parallel import Ranks
from analog_ep.runs.folder import CHECKPOINT, Run, choose_spec, saved_epochs, stored_spec
from analog_ep.runs.progress import TrainingProgress
from analog_ep.runs.trained import cross_checked, export_deck
from analog_ep.spec import Spec


class EquilibriumSolver(StrEnum):
    """What finds the equilibria."""

    torch = "torch"
    ngspice = "ngspice"


@app.command()
def train(
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder: must be new, unless --resume.")],
    spec: Annotated[
        Path | None, typer.Argument(metavar="SPEC.toml|NETLIST.cir", help="Spec, else that of the data; or a netlist.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="digits|iris|xor|DIR|mnist|TABLE.csv",
            help="Data; DIR is a folder of idx files, a table a netlist's.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, conductances and shuffles.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.")] = None,
    start: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Conductances to begin from.")] = None,
    solver: Annotated[
        EquilibriumSolver | None, typer.Option(help="What finds the equilibria; torch by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the tensors, such as cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch; 1 is fastest for small networks.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where RUN was interrupted.")] = False,
    inputs: Annotated[str | None, typer.Option(metavar="A,B", help="Of a netlist: columns that drive it.")] = None,
    outputs: Annotated[str | None, typer.Option(metavar="Y,Z", help="Of a netlist: columns of its targets.")] = None,
    labels: Annotated[str | None, typer.Option(metavar="C", help="Of a netlist: a column of classes instead.")] = None,
    trainable: Annotated[
        str | None, typer.Option(metavar="R1,RW*", help="Of a netlist: resistors that learn, else those it marks.")
    ] = None,
    bounds: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="Range of their conductances. [S]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of a netlist: Adam's rate.")] = None,
) -> None:
    """Train a network. RUN gets the spec, a checkpoint each epoch, metrics.csv and a learning curve.

    A netlist of your own is trained on a table, and RUN gets it with what it learnt.

    Started by `torchrun --nproc-per-node N -m analog_ep train …`, N processes share every batch.
    """
    torch.set_num_threads(threads)
    names = {"inputs": inputs, "outputs": outputs, "labels": labels, "trainable": trainable, "bounds": bounds}
    if spec is not None and is_design(spec):
        training = {"epochs": epochs, "seed": seed, "learning_rate": learning_rate}
        train_design(design_spec(spec, data, names, training), Path() if is_netlist(spec) else spec.parent, out)
        return
    if learning_rate is not None or any(value is not None for value in names.values()):
        raise typer.BadParameter("has a meaning only with a netlist, NETLIST.cir", param_hint="--inputs")
    with Ranks.join(device) as ranks:
        if resume and start is not None:
            raise typer.BadParameter("a resumed run goes on from its own conductances", param_hint="--start")
        wanted = choose_spec(spec, data, seed, epochs, stored=stored_spec(out) if resume else None, solver=solver)
        _train(_opened(out, wanted, resume, start, device, ranks))


def _opened(out: Path, wanted: Spec, resume: bool, start: Path | None, device: str, ranks: Ranks) -> Run:
    """The run in its folder, new or as it was interrupted."""
    if resume:
        return Run.resume(out, wanted, device=device, ranks=ranks)
    return Run.create(out, wanted, device=device, start=start, ranks=ranks)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder; numbered where it exists.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of samples to compare with ngspice.")] = 100,
) -> None:
    """Train on digits, compare with ngspice, export netlists."""
    torch.set_num_threads(1)
    run = Run.create(_unused(out), choose_spec(None, "digits", seed, epochs))
    _train(run)
    passed = _demo_check(run.path, samples)
    for phase in ("free", "nudged"):
        path = run.path / f"{phase}.cir"
        export_deck(run.path, 0, phase, path)
        typer.echo(f"netlist, {phase} phase: {path}")
    if not passed:
        raise typer.Exit(1)


def _demo_check(path: Path, samples: int) -> bool:
    """Whether ngspice agrees; true where there is no ngspice to ask."""
    try:
        result = cross_checked(path, samples)
    except NgspiceNotFoundError as error:
        typer.echo(f"the comparison with ngspice is left out: {error}", err=True)
        return True
    console.print(result.table())
    return result.passed


def _train(run: Run) -> None:
    if not run.trainer.ranks.first:
        run.train()
        return
    done, epochs = run.trainer.epoch, run.spec.training.epochs
    if done:
        typer.echo(f"{run.path} has {done} of {epochs} epochs")
    try:
        with TrainingProgress(console, epochs, done) as progress:
            run.train([progress])
    except KeyboardInterrupt as error:
        typer.echo(
            f"analog-ep: interrupted; {run.path / CHECKPOINT} holds {saved_epochs(run.path)} of {epochs} epochs, "
            f"continue with: analog-ep train --resume --out {run.path}",
            err=True,
        )
        raise interrupted(error) from None
    if run.trainer.history:
        last = run.trainer.history[-1]
        typer.echo(f"test accuracy {last.test_accuracy:.2%} after {last.epoch} epochs, seed {run.spec.training.seed}")
    typer.echo(f"run folder: {run.path}")


def _unused(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
