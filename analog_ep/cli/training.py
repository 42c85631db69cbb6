"""Commands that train: `train` and `demo`."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from analog_ep.cli.common import EngineOption, app, console, interrupted
from analog_ep.cli.notices import warn_of_weak_responses
from analog_ep.errors import NgspiceNotFoundError, SpecError
from analog_ep.learning.parallel import Ranks
from analog_ep.runs.choosing import CHECKPOINT, choose_spec, stored_spec
from analog_ep.runs.folder import Run, saved_epochs
from analog_ep.runs.progress import TrainingProgress
from analog_ep.runs.tensorboard import TensorBoard, require_tensorboard
from analog_ep.runs.trained import cross_checked, export_deck


class EquilibriumSolver(StrEnum):
    """What finds the equilibria."""

    torch = "torch"
    ngspice = "ngspice"
    ngspice_learning = "ngspice-learning"


def _installed(wanted: bool) -> bool:
    """Ask for TensorBoard's package before a run folder is made."""
    if wanted:
        require_tensorboard()
    return wanted


TensorBoardOption = Annotated[
    bool, typer.Option("--tensorboard", callback=_installed, help="Write RUN/tensorboard, for TensorBoard, as well.")
]


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
            help="Data; DIR has MNIST's idx files, CIFAR-10's binary ones, or images in a folder for each class; "
            "a table has --inputs and --outputs or --labels.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, conductances and shuffles.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.")] = None,
    start: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Conductances to begin from.")] = None,
    solver: Annotated[
        EquilibriumSolver | None,
        typer.Option(
            help="What finds the equilibria, torch by default; with `ngspice-learning` circuits of its own learn."
        ),
    ] = None,
    engine: EngineOption = None,
    device: Annotated[str, typer.Option(help="Device of the tensors, such as cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch; 1 is fastest for small networks.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where RUN was interrupted.")] = False,
    inputs: Annotated[str | None, typer.Option(metavar="A,B", help="Columns of a table that drive it.")] = None,
    outputs: Annotated[str | None, typer.Option(metavar="Y,Z", help="Columns of a table with its targets.")] = None,
    labels: Annotated[str | None, typer.Option(metavar="C", help="A table's column of classes instead.")] = None,
    trainable: Annotated[
        str | None, typer.Option(metavar="R1,RW*", help="Of a netlist: resistors that learn, else those it marks.")
    ] = None,
    bounds: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="Range of their conductances. [S]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Rate of the optimiser, of θ = g/g_ref.")] = None,
    tensorboard: TensorBoardOption = False,
) -> None:
    """Train a network. RUN gets the spec, a checkpoint each epoch, metrics.csv and a learning curve.

    A netlist of your own is trained as any network is, and RUN gets it with what it learnt.

    Started by `torchrun --nproc-per-node N -m analog_ep train …`, N processes share every batch.
    """
    torch.set_num_threads(threads)
    columns = {"inputs": _listed(inputs), "outputs": _listed(outputs), "labels": labels}
    circuit = {"trainable": _listed(trainable), "bounds": _bounds(bounds)}
    with Ranks.join(device) as ranks:
        if resume and start is not None:
            raise typer.BadParameter("a resumed run goes on from its own conductances", param_hint="--start")
        stored = stored_spec(out) if resume else None
        wanted = choose_spec(spec, data, seed, epochs, stored, solver, learning_rate, columns, circuit)
        if engine is not None and wanted.gradient.solver == "torch":
            raise typer.BadParameter("has a meaning only with a --solver that is ngspice", param_hint="--engine")
        _train(Run.opened(out, wanted, resume=resume, device=device, start=start, ranks=ranks), tensorboard)


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _bounds(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError:
        raise SpecError(f"--bounds must be two conductances such as 1e-6,1e-3, found {text!r:.40}") from None


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


def _train(run: Run, tensorboard: bool = False) -> None:
    if not run.trainer.ranks.first:
        run.train()
        return
    done, epochs = run.trainer.epoch, run.spec.training.epochs
    warn_of_weak_responses(run.spec, run.trainer.network, run.trainer.chip)
    if done:
        typer.echo(f"{run.path} has {done} of {epochs} epochs")
    try:
        with TrainingProgress(console, epochs, done) as progress, ExitStack() as others:
            run.train([progress, *([others.enter_context(TensorBoard(run))] if tensorboard else [])])
    except KeyboardInterrupt as error:
        typer.echo(
            f"analog-ep: interrupted; {run.path / CHECKPOINT} holds {saved_epochs(run.path)} of {epochs} epochs, "
            f"continue with: analog-ep train --resume --out {run.path}",
            err=True,
        )
        raise interrupted(error) from None
    if run.trainer.history:
        last = run.trainer.history[-1]
        typer.echo(f"{last.verdict} after {last.epoch} epochs, seed {run.spec.training.seed}")
    if run.own_netlist:
        typer.echo(f"your netlist with what it learnt: {run.own_netlist[0]}")
    typer.echo(f"run folder: {run.path}")


def _unused(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
