"""The command line: parse, call the library, print."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Protocol

import torch
import typer
from rich.console import Console
from rich.table import Table

from analog_ep.analysis import analyse
from analog_ep.benchmarking.recipe import bench_recipe
from analog_ep.benchmarking.spice import benchmark_spice
from analog_ep.doctor import examine
from analog_ep.errors import AnalogEPError, NgspiceNotFoundError
from analog_ep.report import TrainingProgress
from analog_ep.run import CHECKPOINT, Run, choose_spec, saved_epochs, stored_spec
from analog_ep.spice.conductance_table import write_conductances
from analog_ep.trained import cross_checked, export_deck, trained_network

app = typer.Typer(
    name="analog-ep",
    help="Train resistive crossbar networks by equilibrium propagation, and check them against ngspice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
bench = typer.Typer(help="Measure speed.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(bench, name="bench")
_console = Console()


class Phase(StrEnum):
    """Phases that a netlist can hold."""

    free = "free"
    nudged = "nudged"
    both = "both"


class StudyName(StrEnum):
    """Studies of a run."""

    settling = "settling"
    noise = "noise"
    power = "power"
    corners = "corners"


class EquilibriumSolver(StrEnum):
    """What finds the equilibria."""

    torch = "torch"
    ngspice = "ngspice"


class BenchDiode(StrEnum):
    """Diodes of the shipped MNIST recipes."""

    ideal = "ideal"
    shockley = "shockley"


class Precision(StrEnum):
    """Types of a network's parameters."""

    float32 = "float32"
    float64 = "float64"


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `train` made.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON in place of the table.")]


class _Report(Protocol):
    """Figures that can be shown."""

    def to_json(self) -> str: ...
    def table(self) -> Table: ...


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of the library becomes one line and exit code 1."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="analog-ep")
    except (AnalogEPError, OSError) as error:
        sys.exit(f"analog-ep: {' '.join(str(error).split())}")


def _print_version(wanted: bool) -> None:
    if wanted:
        _console.print(f"analog-ep {version('analog-ep')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder: must be new, unless --resume.")],
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC.toml", help="Spec; else that of the data.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="digits|iris|xor|DIR|mnist", help="Data; DIR is a folder of idx files.")
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
) -> None:
    """Train a network. RUN gets the spec, a checkpoint each epoch, metrics.csv and a learning curve."""
    torch.set_num_threads(threads)
    if resume:
        if start is not None:
            raise typer.BadParameter("a resumed run goes on from its own conductances", param_hint="--start")
        wanted = choose_spec(spec, data, seed, epochs, stored=stored_spec(out), solver=solver)
        run = Run.resume(out, wanted, device=device)
    else:
        run = Run.create(out, choose_spec(spec, data, seed, epochs, solver=solver), device=device, start=start)
    _train(run)


@app.command()
def check(
    run: RunFolder,
    samples: Annotated[int, typer.Option(min=1, help="Number of test samples.")] = 100,
    json: JsonOption = False,
) -> None:
    """Compare PyTorch with ngspice, node by node. Exits with 1 where they differ by more than the tolerance."""
    result = cross_checked(run, samples)
    _show(result, json)
    if not result.passed:
        raise typer.Exit(1)


@app.command()
def export(
    run: RunFolder,
    sample: Annotated[int, typer.Option(min=0, metavar="K", help="Index of the test sample.")] = 0,
    phase: Annotated[Phase, typer.Option(help="What the netlist solves.")] = Phase.both,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Netlist to write.")] = None,
    conductances: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Table of the conductances to write.")
    ] = None,
) -> None:
    """Write a netlist or the conductances of a run. The netlist runs with plain `ngspice -b FILE`."""
    if out is None and conductances is None:
        raise typer.BadParameter("give -o FILE, --conductances FILE.csv, or both")
    if out is not None:
        export_deck(run, sample, phase.value, out)
        typer.echo(f"wrote {out}")
    if conductances is not None:
        rows = write_conductances(trained_network(run)[1], conductances)
        typer.echo(f"wrote {conductances}: {rows} conductances")


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Print what was found, ngspice and packages, and solve a small network. Exits with 1 where it does not work."""
    diagnosis = examine()
    _show(diagnosis, json)
    if not diagnosis.healthy:
        raise typer.Exit(1)


@app.command("analyse")
def analyse_run(
    run: RunFolder,
    study: Annotated[StudyName, typer.Argument(help="What to look at.")],
    sample: Annotated[int, typer.Option(min=0, metavar="K", help="Index of the test sample.")] = 0,
    capacitance: Annotated[float, typer.Option(help="Capacitance of each node. [F]")] = 1e-12,
    lsb: Annotated[float, typer.Option(help="Step of the converter at the outputs. [V]")] = 1e-3,
    json: JsonOption = False,
) -> None:
    """Study the hardware of a run in ngspice: settling times, noise, power, or temperature and process corners."""
    _show(analyse(run, study.value, sample, capacitance=capacitance, lsb=lsb), json)


@bench.command("spice")
def bench_spice(
    sizes: Annotated[str, typer.Option(metavar="N-N-…", help="Units of the network's layers.")] = "784-100-10",
    samples: Annotated[int, typer.Option(min=1, help="Samples of a batch.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way is timed.")] = 3,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes of ngspice; by default all.")] = None,
    json: JsonOption = False,
) -> None:
    """Time a fresh ngspice, a batch in ngspice, and PyTorch on one circuit, free and nudged."""
    _show(benchmark_spice(_sizes(sizes), samples, rounds, processes), json)


@bench.command("step")
def bench_step(
    sizes: Annotated[str, typer.Option(metavar="N-N-…", help="Units of the network's layers.")] = "784-100-10",
    batch: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = 32,
    diode: Annotated[BenchDiode, typer.Option(help="Diodes of the MNIST recipe.")] = BenchDiode.ideal,
    dtype: Annotated[Precision, typer.Option(help="Precision of the steps.")] = Precision.float32,
    data: Annotated[str, typer.Option(metavar="mnist|DIR", help="MNIST, or a folder of idx files.")] = "mnist",
    rounds: Annotated[int, typer.Option(min=1, help="Steps of each kind that are timed.")] = 50,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
    json: JsonOption = False,
) -> None:
    """Time a training step by equilibrium propagation and by backprop on an MLP of the same size, in turn."""
    torch.set_num_threads(threads)
    _show(bench_recipe(_sizes(sizes), diode.value, dtype.value, data, batch, rounds), json)


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
    for phase in (Phase.free, Phase.nudged):
        path = run.path / f"{phase.value}.cir"
        export_deck(run.path, 0, phase.value, path)
        typer.echo(f"netlist, {phase.value} phase: {path}")
    if not passed:
        raise typer.Exit(1)


def _show(report: _Report, json: bool) -> None:
    if json:
        typer.echo(report.to_json())
    else:
        _console.print(report.table())


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split("-")]
    except ValueError:
        raise typer.BadParameter(f"must be numbers joined by dashes, found {text!r}", param_hint="--sizes") from None


def _demo_check(path: Path, samples: int) -> bool:
    """Whether ngspice agrees; true where there is no ngspice to ask."""
    try:
        result = cross_checked(path, samples)
    except NgspiceNotFoundError as error:
        typer.echo(f"the comparison with ngspice is left out: {error}", err=True)
        return True
    _console.print(result.table())
    return result.passed


def _train(run: Run) -> None:
    done, epochs = run.trainer.epoch, run.spec.training.epochs
    if done:
        typer.echo(f"{run.path} has {done} of {epochs} epochs")
    # A process that a script starts in the background inherits a SIGINT that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with TrainingProgress(_console, epochs, done) as progress:
            run.train([progress])
    except KeyboardInterrupt:
        typer.echo(
            f"analog-ep: interrupted; {run.path / CHECKPOINT} holds {saved_epochs(run.path)} of {epochs} epochs, "
            f"continue with: analog-ep train --resume --out {run.path}",
            err=True,
        )
        raise typer.Exit(130) from None
    if run.trainer.history:
        last = run.trainer.history[-1]
        typer.echo(f"test accuracy {last.test_accuracy:.2%} after {last.epoch} epochs, seed {run.spec.training.seed}")
    typer.echo(f"run folder: {run.path}")


def _unused(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
