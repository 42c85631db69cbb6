"""What `train`, `check` and `export` do with a designer's own netlist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from analog_ep.cli.app import console
from analog_ep.designs import read_netlist
from analog_ep.designs.checking import check_design
from analog_ep.designs.run import DesignRun, is_design_run, require_new, trained_design
from analog_ep.designs.spec import DesignSpec, is_design_spec, load_design_spec, parse_design_spec
from analog_ep.errors import SpecError

_NETLISTS = (".cir", ".ckt", ".net", ".sp", ".spi", ".spice")


def is_netlist(path: Path | None) -> bool:
    """Whether a path is named as netlists are."""
    return path is not None and path.suffix.lower() in _NETLISTS


def is_design(path: Path | None) -> bool:
    """Whether a path is a netlist, a spec of one, or the run folder of one."""
    return path is not None and (is_netlist(path) or is_design_spec(path) or is_design_run(path))


def design_spec(path: Path, table: str | None, names: dict[str, str | None], training: dict[str, Any]) -> DesignSpec:
    """The spec of a netlist and options, or a spec's file with options in place of its values."""
    given = {key: value for key, value in training.items() if value is not None}
    if not is_netlist(path):
        spec = load_design_spec(path)
        tables = spec.model_dump(exclude_none=True)
        tables["training"] |= given
        return parse_design_spec(tables, str(path))
    if table is None or names["inputs"] is None:
        raise typer.BadParameter("a netlist needs --data TABLE.csv, --inputs and --outputs or --labels")
    network: dict[str, Any] = {"kind": "circuit", "netlist": str(path)}
    network |= {"trainable": _listed(names["trainable"]), "bounds": _bounds(names["bounds"])}
    data = {"table": table, "inputs": _listed(names["inputs"]), "outputs": _listed(names["outputs"])}
    data["labels"] = names["labels"]
    marked = read_netlist(path, trainable=network["trainable"], bounds=_pair(network["bounds"]))
    # Where the deck marks none the columns are called as the sources and nodes are.
    network["inputs"] = None if marked.inputs else data["inputs"]
    network["outputs"] = None if marked.outputs else data["outputs"]
    cost = {"function": "squared_error" if names["labels"] is None else "cross_entropy"}
    tables = {"network": _present(network), "data": _present(data), "cost": cost, "training": given}
    return parse_design_spec(tables, "the command")


def train_design(spec: DesignSpec, folder: Path, out: Path) -> None:
    """Train a netlist and write its run folder."""
    require_new(out)
    run = DesignRun.of(spec, folder)
    before = run.cost()
    step = max(1, spec.training.epochs // 10)

    def told(epoch: int, cost: float) -> None:
        if epoch % step == 0 or epoch == spec.training.epochs:
            typer.echo(f"epoch {epoch}: cost {cost:.4g}")

    costs = run.train(told)
    netlist = run.save(out, costs)
    accuracy = run.accuracy()
    typer.echo(f"cost {before:.4g} before, {run.cost():.4g} after {spec.training.epochs} epochs")
    if accuracy is not None:
        typer.echo(f"accuracy {accuracy:.2%} on the table")
    typer.echo(f"your netlist with what it learnt: {netlist}")


def check_netlist(path: Path) -> None:
    """Compare PyTorch with ngspice on a netlist; exits with 1 where they differ or cannot be compared."""
    if is_design_run(path):
        design, _ = trained_design(path)
        path = path / design.path.name
        design = read_netlist(path)
    else:
        design = read_netlist(path)
    for note in design.notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    results = check_design(design)
    for result in results:
        console.print(str(result), highlight=False, markup=False, soft_wrap=True)
    if not all(result.agrees for result in results):
        raise typer.Exit(1)


def export_design(run: Path, out: Path) -> None:
    """Write the designer's netlist with what a run learnt."""
    design, ohms = trained_design(run)
    for path in design.save(out, ohms):
        typer.echo(f"wrote {path}")


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _bounds(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise SpecError(f"--bounds must be two conductances such as 1e-6,1e-3, found {text[:40]!r}") from None


def _pair(bounds: list[float] | None) -> tuple[float, float] | None:
    if bounds is None:
        return None
    if len(bounds) != 2:
        raise SpecError(f"--bounds must be two conductances such as 1e-6,1e-3, found {len(bounds)} numbers")
    return bounds[0], bounds[1]


def _present(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}
