"""Scores of chips as a file keeps them: a line each, written as they come."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from analog_ep.errors import CheckpointError
from analog_ep.support.files import write_atomically


@dataclass(frozen=True)
class ChipScore:
    """How many test samples a chip gets right.

    Attributes
    ----------
    chip : int
        Its number, from 0.
    seed : int
        From which everything of it is drawn.
    right : int
        Samples whose largest read output is their class.
    """

    chip: int
    seed: int
    right: int


@dataclass(frozen=True)
class ChipCheck:
    """A chip in ngspice.

    Attributes
    ----------
    chip : int
        Its number.
    right : int
        As of `ChipScore`, by ngspice's voltages.
    differ : int
        Samples to which PyTorch gives another class.
    output_error : float
        Largest difference of an output from PyTorch's. [V]
    """

    chip: int
    right: int
    differ: int
    output_error: float


Score = TypeVar("Score", ChipScore, ChipCheck)


@dataclass(frozen=True)
class ScoreFile(Generic[Score]):
    """A table that only grows.

    Each line is on the disk before `append` returns. What a kill leaves is whole but for the last line, which is taken
    off when the file is read again.

    Attributes
    ----------
    path : Path
        The file.
    kind : type
        What a line holds.
    about : str
        What its chips are of, in a line.
    """

    path: Path
    kind: type[Score]
    about: str

    def read(self) -> dict[int, Score]:
        """The scores that it holds, by the number of the chip; none where there is no file.

        Raises
        ------
        CheckpointError
            If it is of other chips, or no such table.
        """
        if not self.path.exists():
            return {}
        whole, _, rest = self.path.read_bytes().rpartition(b"\n")
        if rest:
            write_atomically(self.path, whole + b"\n" if whole else b"")
        lines = whole.decode(errors="replace").splitlines()
        if lines[:2] != self._head[: len(lines)]:
            raise CheckpointError(
                f"{self.path} must hold scores of {self.about}, found those of something else, such as of the run "
                "before it was trained on; remove it"
            )
        try:
            scores = [self._score(line) for line in lines[2:]]
        except (ValueError, TypeError):
            raise CheckpointError(f"{self.path} must be a table of scores, found another line; remove it") from None
        return {score.chip: score for score in scores}

    def append(self, score: Score) -> None:
        """Add a line, and the file where there is none."""
        lines = [] if self.path.exists() and self.path.stat().st_size else self._head
        text = "\n".join([*lines, ",".join(map(repr, astuple(score)))]) + "\n"
        with self.path.open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    @property
    def _head(self) -> list[str]:
        return [f"# {self.about}", ",".join(field.name for field in fields(self.kind))]

    def _score(self, line: str) -> Score:
        values: dict[str, Any] = {}
        for column, word in zip(fields(self.kind), line.split(","), strict=True):
            values[column.name] = float(word) if column.name == "output_error" else int(word)
        return self.kind(**values)
