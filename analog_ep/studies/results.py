"""Results of a study: one tidy table, the means over its seeds, and their picture."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.table import Table

from analog_ep.errors import StudyError
from analog_ep.learning.updates.report import SUMMED
from analog_ep.studies.estimate import CONFIDENCE, Estimate
from analog_ep.studies.picture import accuracy_picture
from analog_ep.studies.summary import ACCURACY, COST, Score, Summary
from analog_ep.support.files import write_atomically
from analog_ep.support.shown import Tabled

if TYPE_CHECKING:
    from analog_ep.spec.study import Cell, Study
    from analog_ep.studies.cell import CellResult

RESULTS, TIMES, SUMMARY, PICTURE = "results.csv", "times.csv", "summary.md", "accuracy.png"
DEVICES = "devices.csv"
"""Files of a study's folder; that of devices where any are pulsed."""

_INTERVALS = (
    f"Below, ± is the {CONFIDENCE:.0%} confidence interval of a mean by Student's t; differences are taken within each "
    "seed, from the first combination."
)
_WHY = (
    "Of pulsed devices, means over the seeds: cosine and slope of what conductances changed by in the last epoch "
    "against what was wanted; shares at the bounds and worn out; pulses lost, and reads, of the whole training."
)

_OTHERS = ("cost", "pulses", "write_energy", "error")


class StudyResults(Tabled):
    """Results of all trainings, in the order of the study's cells.

    Parameters
    ----------
    study : Study
        What was trained.
    results : sequence of CellResult or None
        One a cell; None where its training is not complete.
    """

    def __init__(self, study: Study, results: Sequence[CellResult | None]):
        self.study = study
        pairs = zip(study.cells, results, strict=True)
        self._rows = [(cell, result) for cell, result in pairs if result is not None]
        self.results = [result for _, result in self._rows]

    def rows(self) -> list[tuple[Cell, CellResult]]:
        """Cells whose training is complete, with their results."""
        return list(self._rows)

    def columns(self) -> dict[str, list[object]]:
        """A column for each axis, the seed, and each figure of the results, a row a training: what pandas takes."""
        axes = self.study.spec.axes
        found: dict[str, list[object]] = {axis: [cell.labels[axis] for cell, _ in self.rows()] for axis in axes}
        found["seed"] = [cell.seed for cell, _ in self.rows()]
        for name in ("train_accuracy", "test_accuracy", "test_cost", *_OTHERS, *self._of_devices, "seconds"):
            found[name] = [result.figure(name) for result in self.results]
        return found

    def to_pandas(self) -> Any:
        """`columns` as a pandas DataFrame.

        Raises
        ------
        StudyError
            If pandas is not installed.
        """
        try:
            from pandas import DataFrame  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise StudyError("a DataFrame needs pandas, found it missing; install it, or take columns()") from None
        return DataFrame(self.columns())

    def to_json(self) -> str:
        """The columns, and mean and deviation of each combination, as a JSON object."""
        means = [
            {
                "labels": each.labels,
                "seeds": len(each.values),
                "failed": each.n_failed,
                "mean": _finite(each.mean),
                "deviation": _finite(each.deviation),
            }
            for each in self.summaries()
        ]
        facts = {"study": self.study.name, "score": self.score.name, "trainings": self.columns(), "means": means}
        return json.dumps(facts)

    def summaries(self) -> list[Summary]:
        """Scores by combination, in the order of the file."""
        score = self.score
        return [
            Summary(
                labels,
                [score.scale * value for _, result in group if (value := self._value(result)) is not None],
                sum(bool(result.error) for _, result in group),
                score,
            )
            for labels, group in self._groups()
        ]

    def _groups(self) -> list[tuple[dict[str, str], list[tuple[Cell, CellResult]]]]:
        """Labels of each combination and its complete trainings, none left out."""
        found: dict[tuple[str, ...], list[tuple[Cell, CellResult]]] = {}
        for cell, result in self._rows:
            found.setdefault(tuple(cell.labels.values()), []).append((cell, result))
        return [(group[0][0].labels, group) for group in found.values()]

    @property
    def _of_devices(self) -> tuple[str, ...]:
        """Names of the figures of pulsed devices, where there are any."""
        return SUMMED if any(result.devices for result in self.results) else ()

    @property
    def score(self) -> Score:
        """What trainings are compared by."""
        return COST if any(result.test_cost is not None for result in self.results) else ACCURACY

    def _value(self, result: CellResult) -> float | None:
        return result.test_cost if self.score is COST else result.test_accuracy

    def failures(self) -> list[tuple[Cell, str]]:
        """Cells whose training failed, and why."""
        return [(cell, result.error) for cell, result in self.rows() if result.error]

    def write(self, folder: Path) -> None:
        """Write the tables, the wall times, the summary and the picture, each atomically.

        `results.csv` has a row a training: the variant of each axis, the seed, and what the last epoch gave; it
        depends on nothing but the study. `devices.csv` has a row for each of its crossbars of pulsed devices. Wall
        times stand in `times.csv`.
        """
        self.write_rows(folder)
        write_atomically(folder / TIMES, self._csv(("seconds",)))
        if self._of_devices:
            write_atomically(folder / DEVICES, self._devices())
        write_atomically(folder / SUMMARY, self._markdown())
        spec = self.study.spec
        picture = accuracy_picture(self.study.name, spec.axes, spec.design == "one_at_a_time", self.summaries())
        write_atomically(folder / PICTURE, picture)

    def write_rows(self, folder: Path) -> None:
        """Write `results.csv` of the trainings that are complete."""
        scores = ("test_cost",) if self.score is COST else ("train_accuracy", "test_accuracy")
        write_atomically(folder / RESULTS, self._csv((*scores, *_OTHERS, *self._of_devices)))

    def table(self) -> Table:
        """Mean ± standard deviation of the score over the seeds."""
        table = Table(title=self.study.name)
        header, rows = self._text()
        for name in header:
            table.add_column(name, justify="left" if name in self.study.spec.axes else "right")
        for row in rows:
            table.add_row(*row)
        return table

    def _csv(self, columns: Iterable[str]) -> str:
        text, columns = io.StringIO(), list(columns)
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*self.study.spec.axes, "seed", *columns])
        for cell, result in self.rows():
            table.writerow([*cell.labels.values(), cell.seed, *(_cell(result.figure(name)) for name in columns)])
        return text.getvalue()

    def _devices(self) -> str:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        rows = [(cell, row) for cell, result in self._rows for row in result.devices]
        names = list(rows[0][1])
        table.writerow([*self.study.spec.axes, "seed", *names])
        table.writerows([*cell.labels.values(), cell.seed, *(_cell(row[name]) for name in names)] for cell, row in rows)
        return text.getvalue()

    def _markdown(self) -> str:
        parts = [_lines(*self._text())]
        if any(len(each.values) > 1 for each in self.summaries()):
            parts.append(f"±: standard deviation over the seeds. {_INTERVALS}")
            parts.append(_lines(*self._comparison()))
        if self._of_devices:
            parts += [_WHY, _lines(*self._why())]
        return "\n\n".join(parts) + "\n"

    def _comparison(self) -> tuple[list[str], list[list[str]]]:
        """Mean and interval of each combination, and its difference from the first one within the seeds."""
        header = [*self.study.spec.axes, f"{self.score.name}, mean", "less the first"]
        groups, rows = self._groups(), []
        first = self._by_seed(groups[0][1])
        for labels, group in groups:
            own = self._by_seed(group)
            both = [own[seed] - first[seed] for seed in own if seed in first]
            compared = "" if group is groups[0][1] or not both else Estimate.of(both).text(self.score)
            mean = Estimate.of(list(own.values())).text(self.score) if own else "failed"
            rows.append([*labels.values(), mean, compared])
        return header, rows

    def _by_seed(self, group: Sequence[tuple[Cell, CellResult]]) -> dict[int, float]:
        values = {cell.seed: self._value(result) for cell, result in group}
        return {seed: self.score.scale * value for seed, value in values.items() if value is not None}

    def _why(self) -> tuple[list[str], list[list[str]]]:
        """Means over the seeds of what pulsed devices made of the last epoch's changes."""
        rows = []
        for labels, group in self._groups():
            found = [[result.figure(name) for _, result in group] for name in SUMMED]
            known = [[value for value in values if value is not None] for values in found]
            rows.append([*labels.values(), *(f"{fmean(values):.3g}" if values else "" for values in known)])
        return [*self.study.spec.axes, *(name.replace("_", " ") for name in SUMMED)], rows

    def _text(self) -> tuple[list[str], list[list[str]]]:
        header = [*self.study.spec.axes, self.score.name, "seeds"]
        return header, [[*each.labels.values(), each.text, _seeds(each)] for each in self.summaries()]


def _lines(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _seeds(summary: Summary) -> str:
    return f"{len(summary.values)}" + (f", {summary.n_failed} failed" if summary.n_failed else "")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)
