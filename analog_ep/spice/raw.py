"""Reader of ngspice's binary raw files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analog_ep.errors import NgspiceResultError

_MARK = b"Binary:\n"


@dataclass(frozen=True, eq=False)
class RawFile:
    """One plot: the vectors of one analysis.

    Attributes
    ----------
    names : tuple of str
        Name of each variable as ngspice writes it, such as ``v(out)``.
    values : ndarray (n_points, n_variables)
        In SI units; complex of an ``.ac`` analysis, otherwise real.
    """

    names: tuple[str, ...]
    values: np.ndarray

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Values of the variables `names`, `(n_points, len(names))`.

        Raises
        ------
        NgspiceResultError
            If ngspice did not save one of them, which it leaves out without a word, or a value is not finite.
        """
        index = {name: column for column, name in enumerate(self.names)}
        missing = [name for name in names if name not in index]
        if missing:
            raise NgspiceResultError(
                f"ngspice must save all {len(names)} vectors asked for, found {len(missing)} missing, "
                f"such as {missing[0]}; check that the netlist has that node"
            )
        return _finite(tuple(names), self.values[:, [index[name] for name in names]])


def read_raw(path: Path, n_points: int) -> RawFile:
    """Read a binary raw file that holds one plot of real vectors.

    Parameters
    ----------
    path : Path
        The file.
    n_points : int
        Points that the analysis must have.

    Raises
    ------
    NgspiceResultError
        If the file is missing, is not such a file, has another length than its header says or another number of
        points than `n_points`, or holds NaN or infinity.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NgspiceResultError("ngspice must write a result, found none; check the deck's analysis") from None
    head, mark, data = content.partition(_MARK)
    if not mark:
        raise NgspiceResultError("ngspice's result must be a binary raw file, found no binary data; run it again")
    names, points, is_complex = _header(head)
    if is_complex:
        raise NgspiceResultError(
            f"ngspice's result must hold {len(names)} real vectors, found {len(names)} complex ones"
        )
    # A sweep that fails midway leaves data behind a header that says 0 points.
    if len(data) != 8 * len(names) * points:
        raise NgspiceResultError(
            f"ngspice's result must hold {8 * len(names) * points} bytes for {len(names)} variables and {points} "
            f"points, found {len(data)}; the analysis did not reach its end"
        )
    if points != n_points:
        raise NgspiceResultError(f"ngspice must return {n_points} points, found {points}; the analysis stopped early")
    values = np.frombuffer(data, dtype="<f8").reshape(points, len(names))
    return RawFile(names, _finite(names, values))


def read_plots(path: Path) -> list[RawFile]:
    """Read a binary raw file of any number of plots, real or complex.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    NgspiceResultError
        If the file is missing, is not such a file, has another length than its headers say, or holds NaN or infinity.
    """
    try:
        rest = path.read_bytes()
    except FileNotFoundError:
        raise NgspiceResultError("ngspice must write a result, found none; check the deck's analyses") from None
    plots = []
    while rest:
        head, mark, data = rest.partition(_MARK)
        if not mark:
            raise NgspiceResultError("ngspice's result must be binary raw plots, found other data; run it again")
        names, points, is_complex = _header(head)
        size = (16 if is_complex else 8) * len(names) * points
        if not size or len(data) < size:
            raise NgspiceResultError(
                f"ngspice's plot of {len(names)} variables and {points} points must hold {size} bytes and some, found "
                f"{len(data)}; the analysis did not reach its end"
            )
        values = np.frombuffer(data[:size], dtype="<c16" if is_complex else "<f8").reshape(points, len(names))
        # ngspice's own integral of a spectrum can be NaN beside a sound spectrum: what is asked for is checked.
        plots.append(RawFile(names, values))
        rest = data[size:]
    return plots


def _finite(names: tuple[str, ...], values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        point, variable = np.argwhere(~np.isfinite(values))[0]
        raise NgspiceResultError(
            f"ngspice's result must be finite, found {values[point, variable]} for {names[variable]} at point {point}"
        )
    return values


def _header(head: bytes) -> tuple[tuple[str, ...], int, bool]:
    """Names of the variables, number of points, and whether they are complex."""
    try:
        lines = head.decode("ascii").splitlines()
        fields = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        n_variables, points = int(fields["No. Variables"]), int(fields["No. Points"])
        begin = lines.index("Variables:") + 1
        names = tuple(line.split()[1].lower() for line in lines[begin : begin + n_variables])
        flags = fields["Flags"]
    except (UnicodeDecodeError, KeyError, ValueError, IndexError) as error:
        raise NgspiceResultError(f"ngspice's result must have a raw header, found a broken one: {error}") from None
    if flags not in ("real", "complex") or len(names) != n_variables:
        raise NgspiceResultError(f"ngspice's result must hold {n_variables} {flags} vectors, found {len(names)}")
    return names, points, flags == "complex"
