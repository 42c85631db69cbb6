"""Yield: many chips drawn from one spec, all holding what a run learnt, each tried on the test samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from rich.table import Table
from torch import Tensor

from analog_ep.analyses.chip_scores import ChipCheck, ChipScore, Score, ScoreFile
from analog_ep.circuit import Chip
from analog_ep.circuit.drawing import stream
from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import SpecError, StimulusError
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.learning.training import outputs_and_reads
from analog_ep.networks import ConductanceNetwork
from analog_ep.runs.building import build_solver
from analog_ep.runs.chips import build_chip, chip_seed, with_chip_seed
from analog_ep.runs.choosing import CHECKPOINT, SPEC, stored_spec
from analog_ep.runs.folder import save_on_chip, stored_chip
from analog_ep.runs.trained import test_samples, trained_conductances
from analog_ep.spec import Spec
from analog_ep.studies.cores import on_cores
from analog_ep.support.shown import Tabled

SHARES = (0.5, 0.9, 0.95, 0.99)
"""Shares of the chips whose accuracy is told."""

_PART = 500
"""Samples a run of ngspice."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MonteCarlo(Tabled):
    """Accuracies of the chips that one spec may give, with the conductances of one run.

    Attributes
    ----------
    scores : tuple of ChipScore
        One a chip, in their order.
    samples : int
        Test samples that each was tried on.
    own : int
        Of these, how many the run's own chip gets right.
    checks : tuple of ChipCheck
        The first chips in ngspice.
    worst : Path or None
        Run folder of the worst chip.
    """

    scores: tuple[ChipScore, ...]
    samples: int
    own: int
    checks: tuple[ChipCheck, ...] = ()
    worst: Path | None = field(default=None, compare=False)

    @property
    def accuracies(self) -> np.ndarray:
        """In the order of the chips, `(n_chips,)`."""
        return np.array([score.right for score in self.scores]) / self.samples

    @property
    def deviation(self) -> float:
        """Standard deviation of the accuracy over the chips, n − 1 in the denominator."""
        return float(self.accuracies.std(ddof=1))

    @property
    def worst_score(self) -> ChipScore:
        """Of the chip with the lowest accuracy, the first of those."""
        return min(self.scores, key=lambda score: score.right)

    def yield_at(self, accuracy: float) -> float:
        """Share of the chips whose accuracy is at least this."""
        return float((self.accuracies >= accuracy).mean())

    def yield_curve(self) -> list[tuple[float, float]]:
        """Every accuracy that a chip has, and the yield there."""
        return [(float(accuracy), self.yield_at(accuracy)) for accuracy in np.unique(self.accuracies)]

    def reached_by(self, share: float) -> float:
        """Largest accuracy at which the yield is at least this share."""
        return max(accuracy for accuracy, at in self.yield_curve() if at >= share - 1e-12)

    def check_figures(self) -> dict[str, float]:
        """Of the chips that ngspice solved too: means and deviations of both, largest differences; none without any."""
        if not self.checks:
            return {}
        theirs = np.array([check.right for check in self.checks]) / self.samples
        ours = self.accuracies[[check.chip for check in self.checks]]
        return {
            "chips": len(self.checks),
            "mean": float(ours.mean()),
            "mean_ngspice": float(theirs.mean()),
            "deviation": float(ours.std(ddof=min(1, len(ours) - 1))),
            "deviation_ngspice": float(theirs.std(ddof=min(1, len(ours) - 1))),
            "classes_differ": sum(check.differ for check in self.checks),
            "max_output_error": max(check.output_error for check in self.checks),
        }

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "chips": len(self.scores),
                "samples": self.samples,
                "mean": float(self.accuracies.mean()),
                "deviation": self.deviation,
                "own_chip": self.own / self.samples,
                "worst": asdict(self.worst_score),
                "reached_by": {f"{share:g}": self.reached_by(share) for share in SHARES},
                "yield_curve": self.yield_curve(),
                "scores": [asdict(score) for score in self.scores],
                "ngspice": self.check_figures(),
                "ngspice_scores": [asdict(check) for check in self.checks],
            }
        )

    def table(self) -> Table:
        """Accuracies, the yield, the worst chip, and what ngspice says."""
        table = Table("accuracy", "found", title=f"{len(self.scores)} chips, {self.samples} test samples each")
        if self.worst is not None:
            table.caption = f"the worst chip is the run {self.worst}"
        table.add_row("mean ± standard deviation", f"{self.accuracies.mean():.2%} ± {self.deviation:.2%}")
        table.add_row("the run's own chip", f"{self.own / self.samples:.2%}")
        for share in SHARES:
            table.add_row(f"reached by {share:.0%} of the chips", f"{self.reached_by(share):.2%}")
        worst = self.worst_score
        table.add_row("worst chip", f"{worst.right / self.samples:.2%}, chip {worst.chip}, seed {worst.seed}")
        if figures := self.check_figures():
            of = f"chips 0…{figures['chips'] - 1:.0f}"
            for whose, end in (("PyTorch", ""), ("ngspice", "_ngspice")):
                text = f"{figures[f'mean{end}']:.2%} ± {figures[f'deviation{end}']:.2%}"
                table.add_row(f"{of}, {whose}", text)
            text = f"{figures['max_output_error']:.2g} V; {figures['classes_differ']:.0f} classes differ"
            table.add_row(f"{of}, outputs differ by at most", text)
        return table


@dataclass(frozen=True)
class ChipDraws:
    """Chips that hold what a run learnt.

    Attributes
    ----------
    path : Path
        The run folder.
    sample : int
        First test sample.
    samples : int or None
        Number of test samples; None for all from there on.
    content : str
        Tells what the run has learnt, and with which spec.
    engine : str or None
        What checks, see `Ngspice`.
    """

    path: Path
    sample: int
    samples: int | None
    content: str
    engine: str | None = None

    @classmethod
    def of(cls, path: Path, sample: int = 0, samples: int | None = None, engine: str | None = None) -> ChipDraws:
        """Those of a run as it is now.

        Raises
        ------
        CheckpointError
            If the folder has no spec or checkpoint.
        """
        stored_spec(path)
        Checkpoint.load(path / CHECKPOINT)
        content = b"".join((path / name).read_bytes() for name in (SPEC, CHECKPOINT))
        return cls(path, sample, samples, hashlib.sha256(content).hexdigest()[:16], engine)

    def seed(self, number: int) -> int:
        """Seed of a chip: that of the run's own and the chip's number tell it, so that more chips leave it as it is."""
        return int(stream(chip_seed(self._subject.spec), f"chip {number}").integers(2**32))

    def drawn(self, number: int) -> tuple[Spec, Chip]:
        """A chip, and the spec that draws it."""
        spec = with_chip_seed(self._subject.spec, self.seed(number))
        chip = build_chip(spec, self._subject.network)
        assert chip is not None
        return spec, chip

    def require_spread(self) -> None:
        """Refuse a spec whose chips are all alike, or samples without classes.

        Raises
        ------
        SpecError
            If nothing is drawn that an inference would show.
        StimulusError
            If samples have targets in place of classes.
        """
        if self._subject.spec.data.outputs:
            raise StimulusError("a yield needs samples with classes, data.labels, found targets, data.outputs")
        if not _differ(self.drawn(0)[1], self.drawn(1)[1]):
            found = "no [chip]" if self._subject.spec.chip is None else "spreads of 0 alone"
            raise SpecError(
                f"chips must differ for a yield, found {found} in the spec of the run; train one with [chip] spreads, "
                "such as conductance_spread = 0.02"
            )

    def score(self, number: int) -> ChipScore:
        """Try a chip on the samples, in float64, by the spec's solver."""
        torch.set_num_threads(1)
        chip = self.drawn(number)[1]
        return ChipScore(
            number, self.seed(number), self._right(self._solved(build_solver(self._subject.spec), chip)[1])
        )

    def check(self, number: int) -> ChipCheck:
        """Try a chip in ngspice, and compare it."""
        torch.set_num_threads(1)
        chip = self.drawn(number)[1]
        exact = Ngspice(self.engine, reduced=True, timeout=None, max_points=_PART)
        (ours, our_read), (theirs, read) = (
            self._solved(solver, chip) for solver in (build_solver(self._subject.spec), exact)
        )
        differ = int((our_read.argmax(-1) != read.argmax(-1)).sum())
        return ChipCheck(number, self._right(read), differ, float((ours - theirs).abs().max()))

    def own(self) -> int:
        """Samples that the run's own chip gets right."""
        spec, network = self._subject.spec, self._subject.network
        return self._right(self._solved(build_solver(spec), stored_chip(self.path, spec, network))[1])

    @property
    def n_samples(self) -> int:
        """Number of test samples."""
        return len(self._subject.labels)

    def about(self) -> str:
        """What tells these chips and samples from others."""
        last = self.sample + self.n_samples - 1
        return f"run {self.content}, test samples {self.sample} to {last}"

    @property
    def _subject(self) -> _Subject:
        return _loaded(self)

    def _solved(self, solver: Solver, chip: Chip | None) -> tuple[Tensor, Tensor]:
        subject = self._subject
        found = zip(*outputs_and_reads(subject.network, subject.inputs, solver, chip), strict=True)
        outputs, reads = (torch.cat(parts) for parts in found)
        return outputs, reads

    def _right(self, reads: Tensor) -> int:
        return int((reads.argmax(-1) == self._subject.labels).sum())


def monte_carlo(
    draws: ChipDraws,
    chips: int,
    *,
    checks: int = 0,
    folder: Path | None = None,
    worst: Path | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> MonteCarlo:
    """Draw chips and try each on the test samples.

    Each score is written when its chip has been tried: after a kill the same call goes on with the chips that are left,
    and more chips go on from those of an earlier call. Scores do not depend on the number of processes.

    Parameters
    ----------
    draws : ChipDraws
        The chips.
    chips : int
        How many, 2 at least.
    checks : int
        How many of them, from the first on, ngspice solves too.
    folder : Path, optional
        Gets `chips.csv` and `ngspice.csv`; without it nothing is kept.
    worst : Path, optional
        Run folder to make of the worst chip.
    jobs : int, optional
        Processes; by default one a core.
    progress : callable, optional
        Told how many trials of how many are complete.

    Raises
    ------
    SpecError
        If the spec has no [chip], or all its chips are alike.
    StimulusError
        If there are too few chips, more checks than chips, or samples without classes.
    CheckpointError
        If the folder holds scores of something else.
    ConvergenceError, NgspiceError
        If a chip has no solution, or there is no ngspice.
    """
    if chips < 2:
        raise StimulusError(
            f"a yield needs 2 chips at least, found {chips}; a hundred tell it to a standard error of 5 % at most"
        )
    if not 0 <= checks <= chips:
        raise StimulusError(f"chips to check in ngspice must be 0…{chips} of the chips, found {checks}")
    draws.require_spread()
    scores: dict[int, ChipScore] = {}
    found: dict[int, ChipCheck] = {}
    with ExitStack() as stack:
        files = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / "lock"))
            about = draws.about()
            files = (
                ScoreFile(folder / "chips.csv", ChipScore, about),
                ScoreFile(folder / "ngspice.csv", ChipCheck, about),
            )
            scores, found = files[0].read(), files[1].read()
        total = chips + checks
        parts = (
            _left(jobs, draws.score, range(chips), scores, None if files is None else files[0]),
            _left(jobs, draws.check, range(checks), found, None if files is None else files[1]),
        )
        for part in parts:
            for _ in part:
                if progress is not None:
                    progress(sum(n < chips for n in scores) + sum(n < checks for n in found), total)
    ordered = tuple(scores[number] for number in range(chips))
    result = MonteCarlo(ordered, draws.n_samples, draws.own(), tuple(found[n] for n in range(checks)), worst)
    if worst is not None:
        save_on_chip(draws.path, worst, *draws.drawn(result.worst_score.chip))
    return result


def _left(
    jobs: int | None,
    task: Callable[[int], Score],
    numbers: Iterable[int],
    known: dict[int, Score],
    file: ScoreFile[Score] | None,
) -> Iterator[None]:
    """Do what is not known yet; gives None before the first one and after each."""
    yield
    for score in on_cores(jobs, task, [number for number in numbers if number not in known], "chips"):
        if file is not None:
            file.append(score)
        known[score.chip] = score
        yield


@dataclass(frozen=True, eq=False)
class _Subject:
    spec: Spec
    network: ConductanceNetwork
    inputs: Tensor
    labels: Tensor


@lru_cache(maxsize=1)
def _loaded(draws: ChipDraws) -> _Subject:
    """A run's network and samples, as no DAC has them yet; once a process."""
    spec, network = trained_conductances(draws.path)
    which = slice(draws.sample, None if draws.samples is None else draws.sample + draws.samples)
    inputs, targets = test_samples(spec, network, which, None)
    return _Subject(spec, network, inputs, targets.argmax(-1))


def _differ(first: Chip, second: Chip) -> bool:
    """Whether an inference can tell two chips."""
    one, other = (_of_inference(chip) for chip in (first, second))
    return one.keys() != other.keys() or any(not np.array_equal(one[k], other[k], equal_nan=True) for k in one)


def _of_inference(chip: Chip) -> dict[str, np.ndarray]:
    return {k: v for k, v in chip.packed()[0].items() if k.startswith(("factor/", "value/", "converters/"))}
