"""Every name that a circuit accepts is one that ngspice answers for; those that it does not are refused."""

import re

import numpy as np
import pytest
import torch

from analog_ep.circuit import CircuitBuilder, Conductances, VoltageSources
from analog_ep.equilibrium import Ngspice, solve
from analog_ep.errors import NodeNameError
from analog_ep.ngspice.process import run_plots

# Vectors, sets of vectors, constants, functions, keywords and cards of ngspice, and words that a circuit would use.
_WORDS = """
    all allv alli ally alle ac dc op tran noise tf pz disto sens sp temp temper tnom time hertz frequency freq omega
    gnd ground value table agauss gauss aunif unif limit poisson sunif rank pi e c i kelvin echarge boltz planck yes no
    true false const null none nil index vsweep isweep sweep onoise_spectrum inoise_spectrum onoise_total inoise_total
    onoise_total_r1 vdb vm vp vr vi vg vt a b d f g h j k l m n o p q r s t u v w x y z acosh asinh ddt ddx fabs idt
    idtmod int pwl pwr pwrs rnd sgn stp u2 uramp ternary_fcn db mag ph cph re im real imag unwrap norm mean avg vecmin
    vecmax rms length interpolate deriv integ fft sortorder timer clock and or not gt lt ge le ne xor mod div if else
    elseif endif while repeat foreach break let print plot write save run source include lib model subckt ends param
    params func options width title global ic nodeset csparam meas control endc plots curplot version workdir vcc vdd
    vss vee in out ref bias node net branch internal poly on off tc tc1 scale area mil meg opamp diode v1 i1 r1 n1 n001
    inf nan infinity na integer string bool unknown energy phase idx
"""
CANDIDATES = _WORDS.split()
ANALYSES = {"op": ".op", "dc": ".dc v_zz 2 2 1", "ac": ".ac lin 1 1e3 1e3", "tran": ".tran 1e-3 2e-3 uic"}


def accepted() -> list[str]:
    names = []
    for name in CANDIDATES:
        try:
            CircuitBuilder("t").add_nodes([name])
        except NodeNameError:
            continue
        names.append(name)
    return names


@pytest.mark.ngspice
@pytest.mark.parametrize("analysis", ANALYSES)
def test_ngspice_answers_for_every_accepted_name(analysis: str):
    names = accepted()
    cards = ["* t", "vidx zz_idx 0 0", "v_zz zz 0 dc 2 ac 2"]
    for number, name in enumerate(names):
        cards += [f"r_a{number} zz {name} 1e3", f"r_b{number} {name} 0 1e3"]
        cards += [f"b_{number} zz_{number} 0 i=-1e-3*v({name})", f"r_{number} zz_{number} 0 1e3"]
    vectors = [f"v({name})" for name in names] + [f"v(zz_{number})" for number in range(len(names))]
    deck = "\n".join([*cards, ANALYSES[analysis], *(f".save {vector}" for vector in vectors), ".end\n"])
    (plot,) = run_plots(deck)
    found = plot.columns(vectors)[-1]
    # Half of two volts, at each node and behind the source that reads it.
    np.testing.assert_allclose(np.abs(found), 1.0, rtol=1e-9)


@pytest.mark.ngspice
def test_a_solved_circuit_of_all_accepted_names():
    names = accepted()
    builder = CircuitBuilder("t")
    source, *nodes = builder.add_nodes(["zz", *names]).tolist()
    builder.add(VoltageSources("zz", source, 0, 2.0))
    first, second = [source] * len(nodes) + nodes, nodes + [0] * len(nodes)
    builder.add(Conductances("zr", np.array(first), np.array(second), np.full(2 * len(nodes), 1e-3)))
    found = solve(builder.build(), torch.zeros(1, 0), solver=Ngspice())
    np.testing.assert_allclose(found.voltages[0, 2:], 1.0, rtol=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "frequency",
        "time",
        "temper",
        "alli",
        "all",
        "gnd",
        "ground",
        "onoise_total",
        "inoise_spectrum",
        "onoise_total_r1",
    ],
)
def test_names_of_simulators_are_refused(name: str):
    with pytest.raises(NodeNameError, match=re.escape(f"the name {name!r} is reserved in netlists; choose another")):
        CircuitBuilder("t").add_nodes([name])
