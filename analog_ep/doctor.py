"""What `analog_ep` finds on this machine, and whether it works."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
from rich.table import Table

from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.relaxation import Relaxation
from analog_ep.errors import AnalogEPError
from analog_ep.networks import ResistiveNetwork
from analog_ep.spice.process import find_ngspice, has_klu, ngspice_version

_AGREEMENT = 1e-8
_PACKAGES = ("torch", "PySpice", "numpy", "scipy", "joblib")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    name, value : str
        What, and what was found.
    good : bool
        Whether all that builds on it can work.
    """

    name: str
    value: str
    good: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was looked for."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether every finding is good."""
        return all(finding.good for finding in self.findings)

    def to_json(self) -> str:
        """The findings as a JSON object."""
        return json.dumps({"healthy": self.healthy, "findings": [asdict(finding) for finding in self.findings]})

    def table(self) -> Table:
        """The findings as a table for a terminal."""
        table = Table("what", "found", "")
        for finding in self.findings:
            table.add_row(finding.name, finding.value, "ok" if finding.good else "NOT GOOD")
        return table


def examine() -> Diagnosis:
    """Look for ngspice and the packages, and solve a small network with PyTorch and with ngspice."""
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    threads = f"{torch.get_num_threads()} of PyTorch, {os.cpu_count()} processors"
    packages = [_package(name) for name in _PACKAGES]
    machine = [Finding("threads", threads), Finding("CUDA device", cuda)]
    return Diagnosis((*_ngspice(), *packages, *machine, _self_test()))


def _ngspice() -> list[Finding]:
    try:
        path = find_ngspice()
        findings = [Finding("ngspice", str(path)), Finding("ngspice version", str(ngspice_version(path)))]
        return [*findings, Finding("KLU", "used" if has_klu(path) else "not in this ngspice, which is slower without")]
    except AnalogEPError as error:
        return [Finding("ngspice", str(error), good=False)]


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "not installed", good=False)


def _self_test() -> Finding:
    """A network with two hidden layers, free, both ways."""
    network = ResistiveNetwork([8, 10, 10, 4], diode=ShockleyDiode(saturation_current=1e-9), dtype=torch.float64)
    inputs = torch.linspace(-2, 2, 24, dtype=torch.float64).reshape(3, 8)
    began = time.perf_counter()
    try:
        first, second = (solve(network, inputs, solver=solver) for solver in (Relaxation(), Ngspice()))
    except AnalogEPError as error:
        return Finding("self-test", str(error), good=False)
    distance = float((first.voltages - second.voltages).abs().max())
    seconds = time.perf_counter() - began
    words = f"PyTorch and ngspice differ by {distance:.1e} V at most ({_AGREEMENT:.0e} V allowed), {seconds:.2f} s"
    return Finding("self-test", words, good=distance <= _AGREEMENT)
