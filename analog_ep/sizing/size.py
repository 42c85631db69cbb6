"""From a technology and a task to a spec: rules, short trainings about them, one whole training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from analog_ep.errors import SpecError
from analog_ep.runs.choosing import SPEC
from analog_ep.runs.folder import Run
from analog_ep.sizing.candidates import Choices, Workers, choose
from analog_ep.sizing.constraints import Constraint, before_training, require_possible
from analog_ep.sizing.measured import Band, Measured, initial_power, measure, usable_nudging
from analog_ep.sizing.report import ERRORS, SizingReport
from analog_ep.sizing.rules import Design, rounded
from analog_ep.sizing.task import Task
from analog_ep.spec import Spec, load_spec, parse_spec
from analog_ep.spec.merging import merged
from analog_ep.spec.technology import Technology
from analog_ep.support.files import write_atomically

DESIGN, TRAINED, REPORT = "design.toml", "run", "sizing"
"""Spec, run folder and report in the folder of a sizing."""

_GROWTH, _LAST = 0.85, 0.97
"""Part of the rail that amplifiers may reach in a short training, and where a whole one reached beyond."""

_CORRECTIONS = 3
"""Whole trainings after the first, where that did not keep the rails or the time."""

_READ_ROOM = 1.1
"""Full scale of a hidden ADC, of the largest voltage that it met."""

Say = Callable[[str], None]


def size(
    task: Task,
    technology: Technology,
    target: float,
    folder: Path,
    *,
    workers: Workers | None = None,
    say: Say = lambda line: None,
) -> SizingReport:
    """Find a design of a technology for a task.

    The rules of docs/design-guide.md propose one; limits that they tell are tried before anything is trained. A study
    of short trainings varies it, one axis at a time, on training samples held back; a design departs from a rule only
    where it gains more than the standard error of the difference. Then gain, reads and nudging are set by the voltages
    that were found, and the whole training on all training samples is the first to see the test part.

    Parameters
    ----------
    task : Task
        What is learnt.
    technology : Technology
        Of what.
    target : float
        Accuracy that is wanted, between 0 and 1.
    folder : Path
        Gets the spec `design.toml`, the run `run`, more of them where the design was corrected by it, the studies, and
        the report; what is there is gone on from.
    workers : Workers, optional
        What trains the candidates; by default all cores.
    say : callable, optional
        Told in a line what is done next.

    Raises
    ------
    SpecError
        If the target cannot be, or the folder holds the sizing of something else.
    BudgetError
        If no design keeps the budget: which constraint binds, and by how much.
    """
    if not 0 < target < 1:
        raise SpecError(f"the target accuracy must lie between 0 and 1, found {target:g}")
    design = Design.by_rules(task, technology)
    require_possible(list(before_training(design, initial_power(parse_spec(design.tables(), "the rules")))))
    _claim(folder, task, technology)
    say("short trainings about what the rules propose")
    choices = choose(design, folder, Workers() if workers is None else workers)
    design, band = _set_up(choices, technology)
    # Each in a folder of its own, so that the same call finds all of them again.
    run = folder / TRAINED
    accuracy, found = _whole(design, folder, run, say)
    for number in range(2, 2 + _CORRECTIONS):
        corrected = _corrected(design, found)
        if corrected == design:
            break
        design, run = corrected, folder / f"{TRAINED}-{number}"
        accuracy, found = _whole(design, folder, run, say)
    limits = tuple(_limits(design, found, accuracy, target, band))
    report = SizingReport(design, tuple(choices.taken), limits, found, accuracy, target, folder / DESIGN, run)
    write_atomically(folder / f"{REPORT}.json", report.to_json() + "\n")
    return report


def _whole(design: Design, folder: Path, run: Path, say: Say) -> tuple[float, Measured]:
    """Accuracy and figures of the whole training of a design."""
    say(f"the whole training, {design.epochs} epochs")
    accuracy = _trained(run, _written(design, folder))
    return accuracy, measure(run, design.technology)


def _corrected(design: Design, found: Measured) -> Design:
    """The design with other amplifiers where nodes were beyond the rails, and faster where it settled too late."""
    technology = design.technology
    # Where outputs are not what is farthest, it is amplifiers, whose offsets count too.
    amplified = found.largest if found.largest > found.outputs else design.gain * found.hidden
    if amplified > technology.rail * (1 + 1e-6):
        design = design.at_gain(rounded(design.gain * _LAST * technology.rail / amplified))
    elif found.outputs > technology.rail * (1 + 1e-6):
        design = replace(design, nudging=rounded(_most_nudging(design, found)))
    budget = technology.supply.settling_time
    return design if budget is None else design.at_speed(found.settling_time / budget)


def _most_nudging(design: Design, found: Measured) -> float:
    """The nudging that moves the outputs to the rails, from where the design's own moves them. [A·V]"""
    room = max(_LAST * design.technology.rail - found.free_outputs, 0.1 * design.technology.rail)
    moved = max(found.outputs - found.free_outputs, 1e-3 * design.technology.rail)
    return design.nudging * room / moved


def _claim(folder: Path, task: Task, technology: Technology) -> None:
    """Refuse a folder of another sizing."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"task": {"source": task.source, "sizes": list(task.sizes), "seed": task.seed}}
    text = tomli_w.dumps(facts | {"technology": technology.model_dump(mode="json", exclude_none=True)})
    path = folder / "asked.toml"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise SpecError(
            f"{folder} must be new or of the same task and technology, found another's; choose another folder"
        )
    write_atomically(path, text)


def _set_up(choices: Choices, technology: Technology) -> tuple[Design, Band | None]:
    """Gain, reads and nudging by the voltages of a short training."""
    found = measure(choices.run, technology)
    design = choices.design
    gain = rounded(_GROWTH * technology.rail / found.hidden)
    most = technology.amplifier.largest_gain
    design = design.at_gain(gain if most is None else min(gain, most))
    if technology.converters.adc_bits is None and technology.capacitance.sample is None:
        return design, None
    ranges = (min(rounded(_READ_ROOM * found.hidden), technology.rail), rounded(_GROWTH * technology.rail))
    band = usable_nudging(choices.run, technology, ranges)
    # Outputs move with the gain, and the nudging that moves them so goes with its square.
    nudging = min(band.nudging, _most_nudging(choices.design, found)) * (design.gain / choices.design.gain) ** 2
    return replace(design, read_ranges=ranges, nudging=rounded(nudging)), band


def _written(design: Design, folder: Path) -> Spec:
    tables: dict[str, Any] = merged(design.tables(), design.chip_tables())
    head = (
        f"# {'-'.join(map(str, design.task.sizes))} at {design.technology.supply.voltage:g} V, by analog-ep size; "
        "docs/sizing.md.\n\n"
    )
    write_atomically(folder / DESIGN, head + tomli_w.dumps(tables))
    return load_spec(folder / DESIGN)


def _trained(path: Path, spec: Spec) -> float:
    """Test accuracy of the whole training, which goes on where it was; one of another design is replaced."""
    if (path / SPEC).is_file() and load_spec(path / SPEC).differences(spec):
        shutil.rmtree(path)
    run = Run.opened(path, spec, resume=(path / SPEC).is_file())
    run.train()
    return run.trainer.history[-1].test_accuracy


def _limits(design: Design, found: Measured, accuracy: float, target: float, band: Band | None) -> Iterator[Constraint]:
    """All limits; what the rules told of power and time as the trained network has it."""
    technology = design.technology
    measured = {"static power of an inference": found.power, "settling time of the outputs": found.settling_time}
    for limit in before_training(design, found.power):
        yield replace(limit, needs=measured.get(limit.name, limit.needs))
    yield Constraint("voltage of the nodes", found.largest, technology.rail, "V", "lower the gain", True)
    yield Constraint(
        ERRORS,
        1 - accuracy,
        1 - target,
        "%",
        "relax what binds besides, or the target",
        True,
    )
    if band is not None:
        yield Constraint(
            "errors of reads at the best nudging, of what is usable",
            1 / band.margin,
            1.0,
            "",
            "take more bits, a larger sampling capacitor, larger batches, or a higher feedback",
        )
