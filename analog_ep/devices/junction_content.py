"""Current and co-content of junctions in ngspice's words, by the equation that ngspice solves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch

from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE, ZERO_CELSIUS
from analog_ep.devices.content import Content, Shared
from analog_ep.devices.forms import Numbers

_KELVIN, _VOLTS = f"(temper+{ZERO_CELSIUS!r})", repr(BOLTZMANN / ELEMENTARY_CHARGE)


def junction_content(
    stated: Mapping[str, Numbers], temperature: Numbers, effective: tuple[Numbers, Numbers], gmin: float, kelvin: float
) -> Content:
    """Exponential above −3 n V_t, cubic tail below; u the voltage, vte = n V_t.

    Saturation current and emission voltage of junctions at the circuit's temperature follow the simulation's T: by the
    node `_thermal`, which is k_B T/q, and by nodes `_rise<j>`, the factor

        exp((T/T_nom − 1) EG / (n k_B T/q)) (T/T_nom)^(XTI/n)

    of IS that the diodes have in common whose n, EG, XTI and T_nom are the same (ngspice's ``diotemp.c``).

    Parameters
    ----------
    stated : dict of str to float or Tensor (n_elements,)
        IS [A], N, EG [eV], XTI, TNOM [K].
    temperature : float or Tensor (n_elements,)
        Of each junction. [K]
    effective : pair of float or Tensor (n_elements,)
        Saturation current [A] and emission voltage [V] at it.
    gmin : float
        Conductance across each junction. [S]
    kelvin : float
        The circuit's temperature. [K]
    """
    leak, cube = repr(gmin), repr(27 * math.exp(-3))
    tail = f"-isat*(1+{cube}*vte*vte*vte/(u*u*u))"
    current = f"(u >= -3*vte ? isat*(exp(u/vte)-1) : {tail})+{leak}*u"
    tail = f"isat*({math.expm1(-3)!r}*vte-u+0.5*{cube}*vte*(vte*vte/(u*u)-{1 / 9!r}))"
    content = f"(u >= -3*vte ? isat*(vte*(exp(u/vte)-1)-u) : {tail})+0.5*{leak}*u*u"
    values = (*effective, temperature, *(stated[name] for name in ("IS", "N", "EG", "XTI", "TNOM")))
    columns = torch.broadcast_tensors(*(torch.as_tensor(value, dtype=torch.float64) for value in values))
    rows = zip(*(column.reshape(-1).tolist() for column in columns), strict=True)
    return Content("junction", ("isat", "vte"), current, content, list(_arguments(rows, kelvin)), shared=True)


def _arguments(rows: Iterator[tuple[float, ...]], kelvin: float) -> Iterator[tuple[float | Shared, float | Shared]]:
    """Both parameters of each junction: numbers where it has a temperature of its own."""
    for saturation, emission, own, nominal_saturation, ideality, gap, exponent, nominal in rows:
        if own != kelvin:
            yield saturation, emission
            continue
        ratio = f"({_KELVIN}/{nominal!r})"
        gained = f"({ratio}-1)*({gap / ideality!r})/({_VOLTS}*{_KELVIN})"
        rise = f"exp({gained}+({exponent / ideality!r})*ln({ratio}))"
        thermal = Shared(ideality, "thermal", f"{_VOLTS}*{_KELVIN}", alone=True)
        yield Shared(nominal_saturation, "rise", rise), thermal
