"""Transients in VACASK. It has no measurements of its own: a few lines of Python within the netlist print them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from analog_ep.netlist.dialects.transients import Transients
from analog_ep.netlist.texts import number

TRANSIENT = "transient"
"""Name of the analysis, and of its raw file."""

_MEASUREMENTS = ("measure ", "compute ", "parameter ")
"""Words of lines that become statements of the script, each a call of one of its functions."""

_STEPS_PER_TRTOL = 500
"""What `tran_lteratio` is to ngspice's trtol: netlists have reltol 1e-12 here and 1e-9 there, where 7 is the usual
trtol and 3.5 the usual ratio."""

_SCRIPT = f'''\
import bisect
from array import array

head, _, data = open("{TRANSIENT}.raw", "rb").read().partition(b"Binary:\\n")
lines = head.decode().splitlines()
names = [line.split("\\t")[2] for line in lines[lines.index("Variables:") + 1 :]]
values = array("d", data)
column = {{name: values[i :: len(names)] for i, name in enumerate(names)}}
found = {{}}

def parameter(name, value):
    found[name] = value

def told(name, value):
    parameter(name, value)
    print(f"{{name:<20}} = {{value:.15e}}", flush=True)

def measure(name, node, at):
    """The voltage of a node at a time, between the two points about it."""
    times, volts = column["time"], column[node]
    i = min(max(bisect.bisect_left(times, at), 1), len(times) - 1)
    share = (at - times[i - 1]) / (times[i] - times[i - 1])
    told(name, volts[i - 1] + share * (volts[i] - volts[i - 1]))

def compute(name, expression):
    told(name, eval(expression, {{}}, found))
'''


class VacaskTransients(Transients):
    """Its waveforms and its `tran`; what is measured, computed and named, `measured_by_python` makes a script of."""

    def options(self, values: Mapping[str, str]) -> str:
        return f"options {' '.join(f'{key}={value}' for key, value in values.items())}"

    def integration(self, trtol: int) -> str:
        return self.options({"tran_method": '"gear2"', "tran_lteratio": str(_STEPS_PER_TRTOL * trtol)})

    def transient(self, step: float, end: float, from_start: bool = False) -> str:
        mode = ' icmode="uic"' if from_start else ""
        texts = f"step={number(step)} stop={number(end)} maxstep={number(step)}{mode}"
        return f"control\n  analysis {TRANSIENT} tran {texts}\nendc"

    def measured(self, name: str, vector: str, at: float) -> str:
        return f'measure "{name}", "{vector.removeprefix("v(").removesuffix(")")}", {number(at)}'

    def computed(self, name: str, expression: str) -> str:
        return f'compute "{name}", "{expression}"'

    def parameter(self, name: str, value: float) -> str:
        return f'parameter "{name}", {number(value)}'

    def corners(self, points: Iterable[tuple[float, float]], gap: str = " ") -> str:
        texts = f",{gap}".join(f"{number(time)}, {number(value)}" for time, value in points)
        return f'type="pwl" wave=[{texts}]'

    def waveform(self, points: Iterable[tuple[float, float]]) -> str:
        return self.corners(points, gap="  ")


def measured_by_python(lines: Sequence[str]) -> Iterator[str]:
    """A netlist with what it measures as a script that runs behind the analysis."""
    script = [_statement(line) for line in lines if line.startswith(_MEASUREMENTS)]
    for line in lines:
        if line.startswith(_MEASUREMENTS):
            continue
        if line == "endc" and script:
            yield '  postprocess(PYTHON, "measure.py")'
            yield line
            yield from ("", 'embed "measure.py" <<<FILE', _SCRIPT, *script, ">>>FILE")
        else:
            yield line


def _statement(line: str) -> str:
    word, _, arguments = line.partition(" ")
    return f"{word}({arguments})"
