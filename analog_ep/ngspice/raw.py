"""Reader of ngspice's binary raw files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from analog_ep.errors import NgspiceResultError

_MARK = b"Binary:\n"
_LONGEST_LINE, _LONGEST_HEADER = 2**20, 2**26
_HEADER_CHARACTERS = bytes([*b"\n\t", *range(0x20, 0x7F)])


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
    with _opened(path) as file:
        names, points, is_complex = _next_header(file, "a binary raw file, found no binary data")
        left = _left(file)
        if is_complex:
            raise NgspiceResultError(
                f"ngspice's result must hold {len(names)} real vectors, found {len(names)} complex ones"
            )
        # A sweep that fails midway leaves data behind a header that says 0 points.
        if left != 8 * len(names) * points:
            raise NgspiceResultError(
                f"ngspice's result must hold {8 * len(names) * points} bytes for {len(names)} variables and {points} "
                f"points, found {left}; the analysis did not reach its end"
            )
        if points != n_points:
            raise NgspiceResultError(
                f"ngspice must return {n_points} points, found {points}; the analysis stopped early"
            )
        return RawFile(names, _finite(names, _values(file, names, points, is_complex)))


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
    plots = []
    with _opened(path) as file:
        while _left(file):
            names, points, is_complex = _next_header(file, "binary raw plots, found other data")
            size, left = (16 if is_complex else 8) * len(names) * points, _left(file)
            if not size or left < size:
                raise NgspiceResultError(
                    f"ngspice's plot of {len(names)} variables and {points} points must hold {size} bytes and some, "
                    f"found {left}; the analysis did not reach its end"
                )
            # ngspice's own integral of a spectrum can be NaN beside a sound spectrum: what is asked for is checked.
            plots.append(RawFile(names, _values(file, names, points, is_complex)))
    return plots


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A result that is a file of its own: opening anything else could wait for ever, or read what is not ngspice's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise NgspiceResultError("ngspice must write a result, found none; check the deck's analysis") from None
    except OSError as error:
        raise NgspiceResultError(f"ngspice's result must be a file, found none to read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NgspiceResultError("ngspice's result must be a file, found a device, pipe or folder; run it again")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()


def _values(file: BinaryIO, names: Sequence[str], points: int, is_complex: bool) -> np.ndarray:
    kind = np.dtype("<c16" if is_complex else "<f8")
    data = file.read(kind.itemsize * len(names) * points)
    if len(data) != kind.itemsize * len(names) * points:
        raise NgspiceResultError(
            "ngspice's result must not change while it is read, found that it shrank; run it again"
        )
    values = np.frombuffer(data, kind).reshape(points, len(names))
    if is_complex and "frequency" in names:
        # ngspice leaves its imaginary part as the memory was, at times NaN.
        values = values.copy()
        values.imag[:, names.index("frequency")] = 0.0
    return values


def _finite(names: tuple[str, ...], values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        point, variable = np.argwhere(~np.isfinite(values))[0]
        raise NgspiceResultError(
            f"ngspice's result must be finite, found {values[point, variable]} for {names[variable]} at point {point}"
        )
    return values


def _next_header(file: BinaryIO, wanted: str) -> tuple[tuple[str, ...], int, bool]:
    """The header that begins here, with the mark behind it; `wanted` is what to say where there is none."""
    head = bytearray()
    while (line := file.readline(_LONGEST_LINE)) != _MARK:
        head += line
        if not line.endswith(b"\n") or len(head) > _LONGEST_HEADER:
            raise NgspiceResultError(f"ngspice's result must be {wanted}; run it again")
    if head.translate(None, _HEADER_CHARACTERS):
        raise NgspiceResultError("ngspice's result must have a raw header, found a broken one: it is no plain text")
    return _header(head.decode("ascii"))


def _header(head: str) -> tuple[tuple[str, ...], int, bool]:
    """Names of the variables, number of points, and whether they are complex."""
    try:
        lines = head.split("\n")
        fields = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        n_variables, points = int(fields["No. Variables"]), int(fields["No. Points"])
        begin = lines.index("Variables:") + 1
        names = tuple(line.split()[1].lower() for line in lines[begin : begin + n_variables])
        flags = fields["Flags"]
    except (KeyError, ValueError, IndexError) as error:
        raise NgspiceResultError(f"ngspice's result must have a raw header, found a broken one: {error}") from None
    if flags not in ("real", "complex"):
        raise NgspiceResultError(f"ngspice's result must hold real or complex vectors, found {flags[:40]!r}")
    if len(names) != n_variables or points < 0:
        raise NgspiceResultError(
            f"ngspice's result must hold {n_variables} {flags} vectors of some points, found {len(names)} of {points}"
        )
    return names, points, flags == "complex"
