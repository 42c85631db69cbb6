"""A few candidates about what the rules propose, compared by short trainings on samples held back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from analog_ep.errors import BudgetError
from analog_ep.sizing.choice import Choice
from analog_ep.sizing.rules import Design, rounded
from analog_ep.spec.study import load_study
from analog_ep.studies.cell import CELLS, digest
from analog_ep.studies.grid import run_study
from analog_ep.support.files import write_atomically

Change = Callable[[Design], Design]
Progress = Callable[[int, int], None]

_SEEDS = 2
_SHORTER, _SHORTEST = 4, 5
"""Part of the whole training, and epochs at least."""

_LEAST_VARIANCE = 0.01
"""p (1 − p), where a candidate gets all samples right."""


def axes() -> dict[str, dict[str, Change]]:
    """What is varied, each alone: the rules' own comes first."""

    def clamp(factor: float) -> Change:
        return lambda design: replace(design, clamp_current=rounded(factor * design.clamp_current))

    def logits(factor: float) -> Change:
        # The current of a nudge is β/v₀ times an error: it stays.
        return lambda design: replace(
            design,
            logit_scale=rounded(factor * design.logit_scale),
            nudging=rounded(factor * design.nudging),
        )

    def inputs(factor: float) -> Change:
        return lambda design: replace(
            design, input_voltage=factor * design.input_voltage, input_noise=design.input_noise / factor
        )

    def rate(factor: float) -> Change:
        return lambda design: replace(design, learning_rate=factor * design.learning_rate)

    def noise(factor: float) -> Change:
        return lambda design: replace(design, input_noise=factor * design.input_noise)

    def kept(design: Design) -> Design:
        return design

    return {
        "clamp current": {"rule": kept, "a third": clamp(1 / 3), "three times": clamp(3.0)},
        "logit scale": {"rule": kept, "half": logits(0.5), "twice": logits(2.0)},
        "input voltage": {"rule": kept, "three times": inputs(3.0)},
        "learning rate": {"rule": kept, "half": rate(0.5), "twice": rate(2.0)},
        "input noise": {"rule": kept, "a quarter": noise(0.25)},
    }


@dataclass(frozen=True)
class Choices:
    """What the short trainings leave of the rules.

    Attributes
    ----------
    design : Design
        The design.
    taken : list of Choice
        Every axis, and what was taken.
    run : Path
        Run folder of a short training of the design.
    accuracy : float
        Mean over the seeds, on the samples held back.
    """

    design: Design
    taken: list[Choice]
    run: Path
    accuracy: float


@dataclass(frozen=True)
class Workers:
    """What trains.

    Attributes
    ----------
    jobs : int, optional
        Trainings at a time on the local cores; by default one a core.
    scheduler : str, optional
        Address of a Dask scheduler whose workers train in their place.
    progress : callable, optional
        Told how many trainings of how many are complete.
    """

    jobs: int | None = None
    scheduler: str | None = None
    progress: Progress | None = None


def choose(design: Design, folder: Path, workers: Workers) -> Choices:
    """Vary what the rules propose, one axis at a time, and take what is better by more than the standard error.

    Parameters
    ----------
    design : Design
        What the rules propose.
    folder : Path
        Gets the studies as files; what was trained there before is taken up.
    workers : Workers
        What trains.

    Raises
    ------
    BudgetError
        If no training of what the rules propose succeeds.
    """
    options = axes()
    changes = {axis: {name: change(design) for name, change in variants.items()} for axis, variants in options.items()}
    found = _compared(design, changes, folder, "candidates", workers)
    (rule, run), others = found[0], iter(found[1:])
    if math.isnan(rule):
        raise BudgetError(f"the design that the rules propose must train, found that it fails; see {folder}/candidates")
    least = math.sqrt(2 * max(rule * (1 - rule), _LEAST_VARIANCE) / (_SEEDS * design.task.held_back))
    taken, best = [], design
    for axis, variants in options.items():
        scores = {"rule": rule} | {name: next(others)[0] for name in list(variants)[1:]}
        name = max(scores, key=lambda each: -1.0 if math.isnan(scores[each]) else scores[each])
        name = name if scores[name] - rule > least else "rule"
        taken.append(Choice(axis, name, scores))
        best = variants[name](best)
    if best != design:
        ((accuracy, path),) = _compared(best, {"design": {"chosen": best}}, folder, "chosen", workers)
        if accuracy >= rule:
            return Choices(best, taken, path, accuracy)
    return Choices(design, [replace(each, name="rule") for each in taken], run, rule)


def _compared(
    design: Design,
    changes: Mapping[str, Mapping[str, Design]],
    folder: Path,
    name: str,
    workers: Workers,
) -> list[tuple[float, Path]]:
    """Mean accuracy of each variant, NaN where it fails, and its first run: the base, then each alone."""
    short = max(design.epochs // _SHORTER, _SHORTEST)
    tables = design.tables()
    tables["data"]["validation"] = design.task.held_back
    tables["training"]["epochs"] = min(short, design.epochs)
    write_atomically(folder / f"{name}_base.toml", tomli_w.dumps(tables))
    study = {
        "base": f"{name}_base.toml",
        "seeds": [design.task.seed + n for n in range(_SEEDS)],
        "design": "one_at_a_time",
        **({} if workers.scheduler is None else {"scheduler": workers.scheduler}),
        "axes": {
            axis: {variant: _differences(tables, other.tables()) for variant, other in variants.items()}
            for axis, variants in changes.items()
        },
    }
    write_atomically(folder / f"{name}.toml", tomli_w.dumps(study))
    wanted = load_study(folder / f"{name}.toml")
    results = run_study(wanted, folder / name, workers.jobs, workers.progress)
    first = [folder / name / CELLS / digest(cell.spec) for cell in wanted.cells[::_SEEDS]]
    return [(each.mean / 100, path) for each, path in zip(results.summaries(), first, strict=True)]


def _differences(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What of the tables of another design a variant sets."""
    own = ("seed", "epochs", "validation")
    changed = {
        name: {key: value for key, value in table.items() if key not in own and base[name].get(key) != value}
        for name, table in other.items()
    }
    return {name: table for name, table in changed.items() if table}
