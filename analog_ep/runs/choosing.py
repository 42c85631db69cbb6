"""Which spec is meant: of a run folder, of a file, of a netlist, or one that is shipped, with a command's options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analog_ep.datasets import BUILT_IN
from analog_ep.designs import read_netlist
from analog_ep.errors import CheckpointError, SpecError
from analog_ep.spec import Spec, default_spec, load_spec, load_stored_spec, parse_spec, with_values
from analog_ep.support.files import is_utf8

SPEC, CHECKPOINT = "spec.toml", "checkpoint.safetensors"
"""Files of a run folder."""

_NETLISTS = (".cir", ".ckt", ".net", ".sp", ".spi", ".spice")
_TABLES = (".csv", ".tsv", ".txt")
_ORIGIN = "the command"


def is_netlist(path: Path) -> bool:
    """Whether a path is named as netlists are."""
    return path.suffix.lower() in _NETLISTS


def stored_spec(path: Path) -> Spec:
    """The spec of a run folder.

    Raises
    ------
    CheckpointError
        If the path is no run folder.
    """
    if not path.exists():
        raise CheckpointError(
            f"{path} must be a run folder, found no {SPEC} in it, nor itself; train with --out {path} first"
        )
    if not path.is_dir():
        raise CheckpointError(f"{path} must be a run folder, found {_kind_of_file(path)}; {_meant(path)}")
    if not (path / SPEC).is_file():
        raise CheckpointError(
            f"{path} must be a run folder, found no {SPEC} in it; name the folder that train wrote by --out"
        )
    _refuse_earlier_design(path)
    return load_stored_spec(path / SPEC)


def _refuse_earlier_design(path: Path) -> None:
    """Refuse a folder in which an earlier version kept the training of a netlist."""
    if not (path / CHECKPOINT).exists() and (path / "resistances.csv").is_file():
        raise CheckpointError(
            f"{path} is a netlist's run of an earlier version, which is read no more; its netlist with what it learnt "
            f"lies there: train that anew with analog-ep train {path}/NETLIST --data TABLE.csv --inputs … --out RUN"
        )


def _named_spec(path: Path) -> Spec:
    """The spec of a file, which may be that of a run folder."""
    return stored_spec(path.parent) if path.name == SPEC and (path.parent / CHECKPOINT).is_file() else load_spec(path)


_KINDS = {
    ".cir": "a netlist",
    ".sp": "a netlist",
    ".toml": "a spec or a card",
    ".safetensors": "a file of tensors",
    ".csv": "a table",
}


def _kind_of_file(path: Path) -> str:
    return _KINDS.get(path.suffix.lower(), "a file") if path.is_file() else "a pipe or a device"


def _meant(path: Path) -> str:
    """What a user who names this file in place of a run folder probably wants."""
    if (path.parent / SPEC).is_file():
        return f"its folder {path.parent} is one"
    if path.suffix.lower() == ".toml":
        return f"train it with: analog-ep train {path} --out RUN, then name RUN"
    return "name the folder that train wrote by --out; files are written from there by export"


def choose_spec(
    path: Path | None = None,
    source: str | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    stored: Spec | None = None,
    solver: str | None = None,
    learning_rate: float | None = None,
    columns: Mapping[str, Any] | None = None,
    circuit: Mapping[str, Any] | None = None,
) -> Spec:
    """The spec that a command asks for.

    Parameters
    ----------
    path : Path, optional
        A spec in TOML, or a netlist. Without it: `stored`, or the shipped spec of `source`, that of MNIST where it is a
        folder.
    source : str, optional
        Data in place of the spec's; a folder, or a table in CSV, is stored as an absolute path.
    seed, epochs, learning_rate : int, int, float, optional
        In place of the spec's.
    stored : Spec, optional
        Spec of the run that goes on.
    solver : str, optional
        In place of the spec's.
    columns : mapping of str, optional
        `inputs`, `outputs` and `labels` of a table; see `analog_ep.spec.DataSpec`.
    circuit : mapping of str, optional
        `trainable` and `bounds` of a netlist; see `analog_ep.spec.CircuitSpec`.

    Raises
    ------
    SpecError
        If the spec is missing or broken, or a value is not allowed.
    """
    data = _data(source, _given(columns))
    network = _given(circuit)
    if path is not None and is_netlist(path):
        spec, data, network = _of_netlist(path, data, network), {}, {}
    elif path is not None:
        spec = _named_spec(path)
    elif stored is not None:
        spec = stored
    elif "table" in data:
        raise SpecError(f"a table needs a spec or a netlist that fits it, found neither beside {source}; name one")
    else:
        spec = default_spec("digits" if source is None else source if source in BUILT_IN else "mnist")
    training = _given({"seed": seed, "epochs": epochs, "learning_rate": learning_rate})
    return with_values(spec, data=data, network=network, gradient=_given({"solver": solver}), training=training)


def _given(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value is not None}


def _data(source: str | None, columns: dict[str, Any]) -> dict[str, Any]:
    """Keys of the data that a command gives."""
    if source is None:
        return columns
    if not is_utf8(source):
        raise SpecError(f"the path of the data must be UTF-8, found {source!r}; choose another")
    if source in BUILT_IN:
        return {"source": source, **columns}
    path = Path(source)
    if path.suffix.lower() in _TABLES:
        return {"table": str(path.absolute()), **columns}
    return {"source": str(path.absolute()) if path.is_dir() else source, **columns}


def _of_netlist(path: Path, data: dict[str, Any], network: dict[str, Any]) -> Spec:
    """The spec of a netlist and options; where the deck marks none, columns are called as its sources and nodes are."""
    if not data or ("table" in data and "inputs" not in data):
        raise SpecError("a netlist needs --data TABLE.csv, --inputs and --outputs or --labels")
    named = {"kind": "circuit", "netlist": str(path.absolute()), **network}
    marked = read_netlist(path, trainable=network.get("trainable"), bounds=network.get("bounds"))
    for name in ("inputs", "outputs"):
        if name in data and not getattr(marked, name):
            named[name] = data[name]
    return parse_spec({"network": named, "data": data}, _ORIGIN)
