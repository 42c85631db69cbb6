"""What commands say beside their results."""

from __future__ import annotations

from pathlib import Path

import typer

from analog_ep.analyses.weak_response import weak_responses
from analog_ep.circuit import Chip
from analog_ep.networks import Network
from analog_ep.runs.trained import trained_circuit
from analog_ep.spec import Spec


def warn_of_weak_responses(spec: Spec, network: Network, chip: Chip | None) -> None:
    """A line on the error stream for every layer whose response the spec's converters cannot see."""
    for line in weak_responses(spec, network, chip):
        typer.echo(f"analog-ep: warning: {line}", err=True)


def warn_of_weak_responses_of(run: Path) -> None:
    """The same of a run, as it is trained."""
    warn_of_weak_responses(*trained_circuit(run))
