"""The diode of a vendor's model card against ngspice, with all that its model has at rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from analog_ep.designs import VendorDiode, read_netlist
from analog_ep.devices import ShockleyDiode
from analog_ep.errors import DeviceParameterError
from tests.read_by_ngspice import plain_voltages
from tests.test_designs import newton_voltages, write

MODELS = {
    "signal": ("IS=4.352n N=1.906 RS=0.6458 BV=110 IBV=0.1m CJO=7e-13 VJ=.869 M=.03 FC=.5 TT=3.48n", "", 27.0),
    "zener": ("IS=1f N=1 BV=5.1 IBV=5m NBV=1.3 RS=2", "", 27.0),
    "recombination": ("IS=10f N=1.1 ISR=0.1n NR=2 IKF=1m RS=1", "", 27.0),
    "default NR": ("IS=1e-20 N=1.1 ISR=0.1p", "", 27.0),
    "hot": (
        "IS=10f N=1.1 ISR=.1n NR=1.8 IKF=1m RS=1 BV=8 IBV=1u VJ=.8 M=.4 EG=1.2 XTI=4 TRS=1m TRS2=1u TCV=1m",
        "area=2 m=3",
        57.0,
    ),
    "own nominal": (
        "IS=10f N=1.1 ISR=.1n NR=1.8 BV=8 IBV=1u IKR=1u VJ=.8 M=.4 TNOM=50 TLEV=1 TCV=1m",
        "temp=60 area=.5",
        17.0,
    ),
    "low leakage": ("IS=805.84E-18 N=1.0246 RS=50m IKF=362.16u ISR=298.95f BV=98 IBV=1.42m", "", 27.0),
    "grading with temperature": ("IS=1e-16 ISR=1p NR=2 VJ=.7 M=.3 TM1=1m TM2=1u TLEVC=1 TPB=1m", "", 80.0),
}


@pytest.mark.parametrize("name", MODELS)
def test_nodes_behind_resistors_agree_with_ngspice(name: str, tmp_path: Path):
    parameters, instance, celsius = MODELS[name]
    volts = [-150.0, -20.0, -9.0, -5.5, -1.0, -0.3, -0.05, 0.05, 0.3, 0.5, 0.7, 1.5, 5.0]
    cards = "".join(
        f"V{i}_{k} a{i}_{k} 0 {v}\nR{i}_{k} a{i}_{k} d{i}_{k} {r}\nD{i}_{k} d{i}_{k} 0 DX {instance}\n"
        for i, v in enumerate(volts)
        for k, r in enumerate(("100", "100k", "1meg"))
        # Behind a series resistance ngspice's rounding, |v|/RS times 1e-16, is 1e-8 V at 1 MΩ for larger ones.
        if k < 2 or abs(v) <= 1
    )
    options = f".options temp={celsius} reltol=1e-9 vntol=1e-12 abstol=1e-15 itl1=2000 gmin=1e-15\n"
    files: dict[str, str | bytes] = {"main.cir": f"title\n{options}{cards}.model DX D({parameters})\n.op\n.end\n"}
    theirs, ours = plain_voltages(files), newton_voltages(read_netlist(write(tmp_path, files)))
    assert theirs is not None
    assert {n: (v, theirs[n]) for n, v in ours.items() if abs(v - theirs[n]) > 1e-8} == {}


FULL = VendorDiode(
    saturation_current=1e-13,
    ideality=1.2,
    breakdown_voltage=4.0,
    breakdown_ideality=1.5,
    recombination_current=1e-10,
    recombination_ideality=2.0,
    knee_current=1e-4,
    reverse_knee_current=1e-6,
)


def test_slope_cocontent_and_differences_follow_from_the_current():
    voltage = torch.linspace(-4.6, 0.95, 400, dtype=torch.float64) + 1e-4
    step = 1e-6
    current, slope = FULL.current(voltage), FULL.conductance(voltage)
    quotient = (FULL.current(voltage + step) - FULL.current(voltage - step)) / (2 * step)
    assert torch.allclose(slope, quotient, rtol=1e-6, atol=1e-14)
    by_content = (FULL.cocontent(voltage + step) - FULL.cocontent(voltage - step)) / (2 * step)
    assert torch.allclose(current, by_content, rtol=1e-6, atol=1e-15)
    assert float(FULL.cocontent(torch.zeros(1, dtype=torch.float64))) == 0
    for change in (1e-3, -0.02, 0.3):
        plain = FULL.current(voltage + change) - current
        assert torch.allclose(
            FULL.current_difference(voltage, torch.full_like(voltage, change)), plain, rtol=1e-9, atol=1e-20
        )
    tiny = FULL.current_difference(voltage, torch.full_like(voltage, 1e-13)) / 1e-13
    assert torch.allclose(tiny, slope, rtol=1e-4)


def test_without_extras_it_is_the_shockley_diode():
    voltage = torch.linspace(-2, 0.9, 100, dtype=torch.float64)
    plain, vendor = ShockleyDiode(1e-12, 1.3), VendorDiode(1e-12, 1.3)
    for method in ("current", "conductance"):
        assert torch.allclose(getattr(vendor, method)(voltage), getattr(plain, method)(voltage), rtol=1e-12)
    assert torch.allclose(vendor.cocontent(voltage), plain.cocontent(voltage), rtol=1e-9, atol=1e-24)


def test_several_in_parallel_and_an_estimate_for_the_start():
    voltage = torch.linspace(-4.5, 0.9, 50, dtype=torch.float64)
    assert torch.allclose(FULL.in_parallel(3).current(voltage), 3 * FULL.current(voltage), rtol=1e-12)
    wanted = torch.tensor([1e-6, 1e-3], dtype=torch.float64)
    reached = FULL.current(FULL.voltage_estimate(wanted))
    assert bool((reached / wanted > 0.1).all() and (reached / wanted < 10).all())


@pytest.mark.parametrize(
    ("name", "value"),
    [("saturation_current", 0.0), ("breakdown_voltage", -1.0), ("knee_current", np.inf), ("grading", -0.1)],
)
def test_parameters_out_of_range_are_refused(name: str, value: float):
    with pytest.raises(DeviceParameterError, match=f"VendorDiode: {name} must"):
        VendorDiode(**{name: value})
