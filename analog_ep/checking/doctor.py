"""What `analog_ep` finds on this machine, and whether it works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from rich.table import Table

from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import AnalogEPError, NgspiceNotFoundError
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.engines import ENGINES, find_engine
from analog_ep.ngspice.process import EngineReport, engine_version, has_klu, has_osdi
from analog_ep.ngspice.self_test import ALLOWED, self_test
from analog_ep.support.shown import Tabled

_AGREEMENT = 1e-8
_LONGEST_COMPLAINT = 300
_VERDICTS = {True: "ok", False: "NOT GOOD", None: ""}
_PATIENCE = 60.0
_PROBES = {
    "torch": "import torch; assert torch.linalg.solve(2 * torch.eye(2), torch.ones(2)).tolist() == [0.5, 0.5]",
    "PySpice": """
import warnings
warnings.simplefilter("ignore")
from analog_ep import CircuitBuilder
from analog_ep.circuit import Conductances, VoltageSources
from analog_ep.netlist.pyspice import to_pyspice
builder = CircuitBuilder("probe")
x, a = builder.add_nodes(["x", "a"]).tolist()
builder.add(VoltageSources("x", x, 0, 0.0, 0))
builder.add(Conductances("r", [x, a], [a, 0], [1e-3, 1e-3]))
import numpy as np
found = to_pyspice(builder.build(), np.array([1.0])).simulator(temperature=27, nominal_temperature=27).operating_point()
assert abs(float(found["a"][0]) - 0.5) < 1e-9, f"0.5 V wanted, found {found['a'][0]}"
""",
    "numpy": "import numpy; assert numpy.linalg.solve(2 * numpy.eye(2), numpy.ones(2)).tolist() == [0.5, 0.5]",
    "scipy": """
from scipy.sparse import eye_array
from scipy.sparse.linalg import splu
assert splu(2 * eye_array(2, format="csc")).solve(__import__("numpy").ones(2)).tolist() == [0.5, 0.5]
""",
    "numba": "import numba; assert numba.njit(lambda x: 2 * x)(0.25) == 0.5",
    "joblib": """
import math
from joblib import Parallel, delayed
assert Parallel(n_jobs=2, backend="loky")(delayed(math.sqrt)(x) for x in (4.0, 9.0)) == [2.0, 3.0]
""",
}
"""What each package must be able to do, in a process of its own: a library that does not fit may end the process."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    name, value : str
        What, and what was found.
    good : bool, optional
        Whether what was tried of it worked; None where there was nothing to try.
    """

    name: str
    value: str
    good: bool | None = None


@dataclass(frozen=True)
class EngineFinding:
    """An engine that was looked for.

    Attributes
    ----------
    name : str
        Its name.
    report : EngineReport or None
        Its version and sparse solver; None where it is missing or no ngspice.
    osdi : bool, optional
        Whether it loads compiled Verilog-A models.
    error, seconds : float, optional
        Of its self-test. [V], [s]
    complaint : str
        Why it does not work, or how to get it.
    good : bool, optional
        Whether its self-test went well; None of an engine that is not installed.
    """

    name: str
    report: EngineReport | None = None
    osdi: bool | None = None
    error: float | None = None
    seconds: float | None = None
    complaint: str = ""
    good: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """By the names that it has in JSON."""
        return {
            "name": self.name,
            "version": self.report and self.report.version,
            "sparse_solver": self.report and self.report.sparse_solver,
            "osdi": self.osdi,
            "self_test_error": self.error,
            "self_test_seconds": self.seconds,
            "complaint": self.complaint,
            "good": self.good,
        }

    @property
    def words(self) -> str:
        """What was found, in a line."""
        if self.report is None or self.error is None:
            return self.complaint
        osdi = "OSDI" if self.osdi else "no OSDI"
        tested = f"a divider with a diode off by {self.error:.1e} V ({ALLOWED:.0e} V allowed), {self.seconds:.2f} s"
        return f"{self.report.version}, {self.report.sparse_solver}, {osdi}; {tested}"


@dataclass(frozen=True)
class Diagnosis(Tabled):
    """Everything that was looked for."""

    findings: tuple[Finding, ...]
    engines: tuple[EngineFinding, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing that was tried failed."""
        return all(finding.good is not False for finding in (*self.findings, *self.engines))

    def to_json(self) -> str:
        """The findings as a JSON object."""
        return json.dumps(
            {
                "healthy": self.healthy,
                "findings": [asdict(finding) for finding in self.findings],
                "engines": [engine.to_dict() for engine in self.engines],
            }
        )

    def table(self) -> Table:
        """The findings as a table for a terminal."""
        table = Table("what", "found", "")
        for finding in self.findings:
            table.add_row(finding.name, finding.value, _VERDICTS[finding.good])
        for engine in self.engines:
            table.add_row(f"engine {engine.name}", engine.words, _VERDICTS[engine.good])
        return table


def examine() -> Diagnosis:
    """Look for engines and the packages, and solve a small network with PyTorch and with ngspice."""
    threads = f"{torch.get_num_threads()} of PyTorch, {os.cpu_count()} processors"
    packages = [_package(name) for name in _PROBES]
    findings = (*_ngspice(), *packages, Finding("threads", threads), _cuda(), _self_test())
    return Diagnosis(findings, tuple(map(_engine, ENGINES)))


def _engine(name: str) -> EngineFinding:
    try:
        engine = ENGINES[name].find()
    except NgspiceNotFoundError as error:
        return EngineFinding(name, complaint=str(error))
    report = None
    try:
        report, osdi = EngineReport.of(name), has_osdi(engine)
        error, seconds = self_test(name)
    except AnalogEPError as error:
        return EngineFinding(name, report, complaint=str(error), good=False)
    return EngineFinding(name, report, osdi, error, seconds, good=error <= ALLOWED)


def _ngspice() -> list[Finding]:
    try:
        engine = find_engine()
        findings = [
            Finding(engine.name, str(engine.path)),
            Finding(f"{engine.language.program} version", engine_version(engine), True),
        ]
        has = has_klu(engine)
        return [
            *findings,
            Finding("KLU", "used" if has else "not in this ngspice, which is slower without", has or None),
        ]
    except AnalogEPError as error:
        return [Finding("ngspice", str(error), good=False)]


def _package(name: str) -> Finding:
    try:
        number = version(name)
    except PackageNotFoundError:
        return Finding(name, "not installed", good=False)
    complaint = _complaint(_PROBES.get(name, ""))
    return Finding(name, f"{number}: {complaint}" if complaint else number, good=not complaint)


def _complaint(code: str) -> str:
    """Why a piece of Python does not run to its end; nothing where it does."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, env=environment, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"a small test of it did not end within {_PATIENCE:.0f} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"a small test of it was ended by {signal.Signals(-done.returncode).name}"
    words = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no words"]
    return f"a small test of it failed: {words[-1][:_LONGEST_COMPLAINT]}"


def _cuda() -> Finding:
    if not torch.cuda.is_available():
        return Finding("CUDA device", "none")
    complaint = _complaint("import torch; assert torch.ones(3, device='cuda').sum().item() == 3.0")
    name = torch.cuda.get_device_name()
    return Finding("CUDA device", f"{name}: {complaint}" if complaint else name, good=not complaint)


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
