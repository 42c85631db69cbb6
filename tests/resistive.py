"""Networks of a spec or a run that must be resistive ones."""

from __future__ import annotations

import torch

from analog_ep.networks import Network, ResistiveNetwork
from analog_ep.runs.building import build_network
from analog_ep.spec import Spec


def resistive(network: Network) -> ResistiveNetwork:
    """The same network, where it is a resistive one."""
    assert isinstance(network, ResistiveNetwork)
    return network


def resistive_network(spec: Spec, dtype: torch.dtype | None = None) -> ResistiveNetwork:
    """The resistive network of a spec."""
    return resistive(build_network(spec, dtype))
