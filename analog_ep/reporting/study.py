"""A report of a study: means with confidence intervals over the seeds, and differences within the seeds."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from analog_ep.errors import AnalogEPError, StudyError
from analog_ep.reporting.page import Report, Section, facts_table, paragraph, picture, rows_table, unfolded
from analog_ep.reporting.versions import versions
from analog_ep.runs.choosing import SPEC, stored_spec
from analog_ep.studies.cell import CELLS
from analog_ep.studies.estimate import CONFIDENCE, Estimate
from analog_ep.studies.results import RESULTS, TIMES
from analog_ep.studies.summary import ACCURACY, COST, Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Labels = tuple[tuple[str, str], ...]
"""Axes and variants of a combination."""


def is_study(path: Path) -> bool:
    """Whether a folder is one that a study writes, complete or not."""
    return (path / RESULTS).is_file() or (path / CELLS).is_dir()


@dataclass(frozen=True)
class StudyTable:
    """What `results.csv` holds.

    Attributes
    ----------
    axes : tuple of str
        Names of the axes.
    score : Score
        What trainings are compared by.
    values : dict
        By combination and seed, in the unit of the score; without trainings that failed.
    failures : list of (Labels, str, str)
        Combination, seed and reason of the others.
    """

    axes: tuple[str, ...]
    score: Score
    values: dict[Labels, dict[str, float]]
    failures: list[tuple[Labels, str, str]]

    @classmethod
    def read(cls, path: Path) -> StudyTable:
        """From the file.

        Raises
        ------
        StudyError
            If it is not a table that a study writes.
        """
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            header = list(rows[0])
            axes = tuple(header[: header.index("seed")])
            column, score = ("test_cost", COST) if "test_cost" in header else ("test_accuracy", ACCURACY)
            values: dict[Labels, dict[str, float]] = {}
            failures = []
            for row in rows:
                labels = tuple((axis, row[axis]) for axis in axes)
                of_seeds = values.setdefault(labels, {})
                if row[column]:
                    of_seeds[row["seed"]] = score.scale * float(row[column])
                else:
                    failures.append((labels, row["seed"], row.get("error") or "no result"))
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise StudyError(f"{path} must be the table of a study, found something else ({error})") from None
        return cls(axes, score, values, failures)

    def pairs(self) -> Iterator[tuple[str, str, str, Labels, Estimate]]:
        """Axis, first variant, another one, what the other axes are, and the mean difference within seeds."""
        for place, axis in enumerate(self.axes):
            first = next(iter(dict.fromkeys(labels[place][1] for labels in self.values)))
            for labels, found in self.values.items():
                rest = labels[:place] + labels[place + 1 :]
                base = self.values.get((*labels[:place], (axis, first), *labels[place + 1 :]), {})
                both = [seed for seed in found if seed in base]
                if labels[place][1] != first and both:
                    yield axis, first, labels[place][1], rest, Estimate.of([found[s] - base[s] for s in both])


def study_report(path: Path) -> Report:
    """The page of a study's folder.

    Parameters
    ----------
    path : Path
        Of a study that is complete, or not.
    """
    lead = "One spec trained many times with a few keys changed."
    title = f"Study {path.resolve().name}"
    if not (path / RESULTS).is_file():
        return Report(title, lead, (_unfinished(path), versions()))
    try:
        table = StudyTable.read(path / RESULTS)
    except AnalogEPError as error:
        return Report(title, lead, (Section("Results", left_out=str(error)), _unfinished(path), versions()))
    return Report(
        title, lead, (_overview(path, table), _results(table), _differences(table), _failed(table), versions())
    )


def _words(labels: Labels) -> str:
    return ", ".join(f"{axis}: {name}" for axis, name in labels) or "all"


def _overview(path: Path, table: StudyTable) -> Section:
    seeds = sorted({seed for found in table.values.values() for seed in found}, key=float)
    facts: dict[str, object] = {
        "axes": ", ".join(table.axes),
        "combinations": len(table.values),
        "seeds": ", ".join(seeds),
        "trainings": sum(map(len, table.values.values())) + len(table.failures),
        "failed": len(table.failures),
        "compared by": table.score.name,
    }
    seconds = _seconds(path)
    if seconds is not None:
        facts["wall time of all trainings"] = f"{seconds:.0f} s"
    return Section("What it is", facts_table(facts.items()) + _base(path), facts)


def _seconds(path: Path) -> float | None:
    """Of all trainings together; None where the table of times is missing."""
    try:
        with open(path / TIMES, newline="", encoding="utf-8") as file:
            return sum(float(row["seconds"]) for row in csv.DictReader(file) if row["seconds"])
    except (OSError, ValueError, KeyError):
        return None


def _base(path: Path) -> str:
    """What all trainings have in common, as the folder of one of them has it."""
    for folder in sorted((path / CELLS).glob("*/")) if (path / CELLS).is_dir() else ():
        if (folder / SPEC).is_file():
            text = (folder / SPEC).read_text(encoding="utf-8", errors="replace")
            return unfolded("the spec of one of its trainings", text)
    return paragraph("The folders of the trainings are not there, so no spec can be shown.")


def _results(table: StudyTable) -> Section:
    found = {labels: Estimate.of(list(of.values())) for labels, of in table.values.items() if of}
    rows = [[*(name for _, name in labels), each.text(table.score), str(each.count)] for labels, each in found.items()]
    if not found:
        return Section("Results", left_out="every training failed")
    words = f"Means over the seeds with {CONFIDENCE:.0%} intervals by Student's t; dots are single seeds."
    body = picture(_intervals(table, found), "means with confidence intervals, and single seeds") + paragraph(words)
    figures = {
        _words(labels): {"mean": each.mean, "half": each.half, "seeds": each.count} for labels, each in found.items()
    }
    return Section("Results", body + rows_table([*table.axes, table.score.name, "seeds"], rows), figures)


def _intervals(table: StudyTable, found: Mapping[Labels, Estimate]) -> Figure:
    # Loaded where something is drawn: no command waits for it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.34 * len(found)), layout="constrained")
    panel = figure.subplots()
    for height, (labels, each) in enumerate(found.items()):
        values = list(table.values[labels].values())
        panel.plot(values, [height] * len(values), "o", color="C0", alpha=0.35, markersize=4)
        half = each.half if math.isfinite(each.half) else 0.0
        panel.errorbar([each.mean], [height], xerr=[half], fmt="D", color="C0", capsize=3, markersize=4)
    panel.set_yticks(range(len(found)), [", ".join(name for _, name in labels) for labels in found], fontsize="small")
    panel.set_ylim(len(found) - 0.5, -0.5)
    panel.set_xlabel(table.score.name)
    panel.grid(axis="x", alpha=0.3)
    return figure


def _differences(table: StudyTable) -> Section:
    pairs = list(table.pairs())
    if not pairs:
        return Section("Paired differences", left_out="no two variants of an axis have a seed in common")
    rows, figures = [], {}
    several = len(table.axes) > 1
    for (axis, first, other, rest), same in groupby(pairs, key=lambda pair: pair[:4]):
        *_, each = next(same)
        name = f"{other} less {first}"
        p = "" if math.isnan(each.p) else f"{each.p:.2g}"
        rows.append([axis, name, *([_words(rest)] if several else []), each.text(table.score), p, str(each.count)])
        figures[f"{axis}: {name}; {_words(rest)}"] = {"mean": each.mean, "half": each.half, "p": each.p}
    header = ["axis", "difference", *(["others"] if several else []), table.score.name, "p", "seeds"]
    words = (
        f"Each seed is compared with itself under the first variant of the axis: mean difference, {CONFIDENCE:.0%} "
        "interval and p of a paired t-test, not corrected for the number of comparisons."
    )
    return Section("Paired differences", paragraph(words) + rows_table(header, rows), figures)


def _failed(table: StudyTable) -> Section:
    if not table.failures:
        return Section("Failures", paragraph("No training failed."), {"failed": 0})
    rows = [[_words(labels), seed, reason] for labels, seed, reason in table.failures]
    return Section("Failures", rows_table(["combination", "seed", "reason"], rows), {"failed": len(rows)})


def _unfinished(path: Path) -> Section:
    """What of a study is there before its results are."""
    cells = path / CELLS
    done = sorted(cells.glob("*.json")) if cells.is_dir() else []
    begun = sorted(folder for folder in cells.glob("*/") if (folder / SPEC).is_file()) if cells.is_dir() else []
    rows = []
    for folder in begun:
        try:
            spec = stored_spec(folder)
            what = f"seed {spec.training.seed}, {spec.gradient.method}"
        except AnalogEPError as error:
            what = str(error)
        rows.append([folder.name, what, "complete" if cells / f"{folder.name}.json" in done else "not complete"])
    words = (
        f"This study is not finished: {len(done)} trainings are complete, {len(begun)} begun. Call it again to go on."
    )
    return Section(
        "What it is",
        paragraph(words) + rows_table(["training", "what", ""], rows),
        {"complete": len(done), "begun": len(begun)},
    )
