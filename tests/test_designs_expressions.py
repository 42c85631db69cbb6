"""Expressions of parameters and of sources against ngspice, one by one, and their slopes."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from analog_ep.designs.behaviour import expression_kind, formed
from analog_ep.designs.differentiation import affine
from analog_ep.designs.evaluation import evaluate
from analog_ep.designs.expressions import Term, parse
from analog_ep.errors import NetlistError
from analog_ep.support.numbers import read_number

PARAMETERS = (
    """(-2)^3|(-2)**3|pow(-2,3)|pwr(-2,3)|-2^2|-2**2|2^3^2|2*-3|2--3|log(10)|ln(10)|log10(10)|sgn(-2)|1>0?1:2|
floor(-1.5)|ceil(1.5)|nint(1.5)|nint(2.5)|int(-2.7)|1.5k+2meg+3m|min(1,2)|max(1,2)|ternary_fcn(0,1,2)|!1|1&&0|1||0|exp(1)|
(1==1)+2*(1!=1)+4*(2>=2)|tan(1)|atan(1)|arctan(1)|sinh(1)|cosh(1)|tanh(1)|asin(0.5)|acos(.5)|asinh(1)|acosh(2)|atanh(.5)|
1e3|1.e3|.5|5.|3f|4x|10kohm|sqr(3)|abs(-2)|(-2)^0.5|2^-1|-(2)^2|sin(1)|cos(1)|2u|-2*-2|2/3/4|2-3-4|2^2*3|sqrt(2)|
1 ? (0 ? 3 : 4) : 5|2<3|3<=2|pow(2,0.5)|+3|5 - -3""".replace("\n", "")
    .replace("1||0", "1\x000")
    .split("|")
)
PARAMETERS = [text.replace("\x00", "||") for text in PARAMETERS]

SOURCES = """
v(a)^3|v(a)**3|pow(v(a),3)|pwr(v(a),3)|-v(a)^2|2^3^2|log(v(b))|ln(v(b))|log10(v(b))|sgn(v(a))|
u(v(a))|u(v(b))|
uramp(v(a))|v(a)<0 ? 1 : 2|floor(v(a)/3)+100*ceil(v(b)/2)+1000*nint(v(b)/2)|pow(v(a),2.5)|min(1,v(a))+max(v(b),2)|
ternary_fcn(v(a)>0,1,2)|pi*v(a)|e+v(b)|temper|!v(a)|v(a)&&v(b)|(v(a)==-2)+2*(v(b)!=3)+4*(v(b)>=3)|exp(v(a))|tan(v(a))|
atan(v(a))|sinh(v(a))|cosh(v(a))|tanh(v(b))|asinh(v(b))|sqrt(v(b))|abs(v(a))|v(b)/v(a)|10*i(v1)|v(b,a)|v(a, b)|
{2*3}*v(a)|'2*3'+v(b)|
v(b) > 2 ? 3 : v(a) > 3 ? 5 : 6|v(a)*v(b)-v(b)^2*cos(v(a))*sin(v(b))|{pow(-2,3)}*v(a)|pow(-2,3)*v(a)|
v(b)^v(a)|2^-1*v(a)|-(v(a)-v(b))*-1""".replace("\n", "").split("|")


def in_ngspice(cards: str, folder: Path) -> float | None:
    """Voltage of the node q. [V]"""
    fixed = "v1 a 0 -2\nra a 0 1k\nv2 b 0 3\nrb b 0 1\nrq q 0 1\n"
    (folder / "t.cir").write_text(f"title\n{fixed}{cards}\n.op\n.control\nop\nset numdgt=12\nprint v(q)\n.endc\n.end\n")
    done = subprocess.run(["ngspice", "-n", "-b", "t.cir"], cwd=folder, capture_output=True, text=True, timeout=20)
    found = re.search(r"^v\(q\) = (\S+)", done.stdout, re.MULTILINE)
    return float(found[1]) if found else None


@pytest.mark.parametrize("text", PARAMETERS)
def test_parameters_have_ngspice_s_values(text: str, tmp_path: Path):
    def no_name(name: str) -> float:
        raise NetlistError(name)

    theirs = in_ngspice(f".param p={{{text}}}\nb1 q 0 v={{p}}", tmp_path)
    assert theirs is not None
    assert evaluate(parse(text), no_name) == pytest.approx(theirs, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("text", SOURCES)
def test_sources_have_ngspice_s_values(text: str, tmp_path: Path):
    from analog_ep.designs import read_netlist
    from tests.test_designs import newton_voltages, write

    theirs = in_ngspice(f"b1 q 0 v={text}", tmp_path)
    assert theirs is not None
    deck = f"title\nv1 a 0 -2\nra a 0 1k\nv2 b 0 3\nrb b 0 1\nrq q 0 1\nb1 q 0 v={text}\n"
    ours = newton_voltages(read_netlist(write(tmp_path, {"main.cir": deck})))["q"]
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("card", ["b1 q 0 v=1/v(a)", "b1 q 0 i=1m*v(q)/v(a)"])
def test_a_source_that_is_solved_where_it_is_not_defined_is_refused(card: str, tmp_path: Path):
    from analog_ep.designs import read_netlist
    from analog_ep.errors import ConvergenceError
    from tests.test_designs import newton_voltages, write

    deck = f"title\nv1 a 0 0\nra a 0 1k\nrq q 0 1\n{card}\n"
    with pytest.raises(ConvergenceError):
        newton_voltages(read_netlist(write(tmp_path, {"main.cir": deck})))


def kind_of(text: str, controls: list[str]):
    """A group of two elements with an expression of voltages against ground."""

    def grounded(term: Term) -> Term:
        if term.kind == "voltage":
            return Term("voltage", value=(*term.value, "0")[:2])  # pyright: ignore[reportGeneralTypeIssues]
        return Term(term.kind, tuple(grounded(part) for part in term.parts), term.value)

    taken = formed(grounded(parse(text, quantities=True)))
    fields = {f"constant_{k}": value for k, value in enumerate(taken.constants)}
    for k in range(len(taken.controls)):
        fields |= {f"control_{k}": [1, 2], f"reference_{k}": 0}
    return expression_kind(taken.form, len(taken.controls), len(taken.constants))("b", [1, 2], 0, **fields)


@pytest.mark.parametrize(
    "text", [text for text in SOURCES if "v(" in text and not re.search(r"i\(v1|pi|e\+|temper", text)]
)
def test_slopes_are_those_of_the_values(text: str):
    group = kind_of(text, ["a", "b"])
    volts = [np.array([0.31 + k, 1.17 - 0.4 * k]) for k in range(group.n_controls)]
    step = 1e-6
    for k, slope in enumerate(group.slopes(*volts)):
        up, down = ([v + side * step * (j == k) for j, v in enumerate(volts)] for side in (1, -1))
        assert slope == pytest.approx((group.current(*up) - group.current(*down)) / (2 * step), rel=1e-6, abs=1e-7)


def test_a_fault_in_a_slope_would_be_seen():
    group = kind_of("v(a)*v(a)", ["a"])
    assert group.slopes(np.array([3.0, 4.0]))[0] == pytest.approx([6.0, 8.0])
    assert not np.allclose(group.slopes(np.array([3.0, 4.0]))[0], [3.0, 4.0])


def test_kinds_survive_a_trip_to_another_process():
    import pickle

    group = kind_of("tanh(2*v(a))+v(b)", ["a", "b"])
    again = pickle.loads(pickle.dumps(group))
    volts = [np.array([0.1, 0.2]), np.array([0.3, 0.4])]
    assert type(again) is type(group)
    assert (again.current(*volts) == group.current(*volts)).all()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1k", 1e3),
        ("4.7kOhm", 4700.0),
        ("2MEG", 2e6),
        ("3m", 3e-3),
        ("1F", 1e-15),
        ("1A", 1.0),
        ("-.5u", -5e-7),
        ("1e3k", 1e6),
        ("10uF", 1e-5),
        ("5G", 5e9),
        ("1T", 1e12),
    ],
)
def test_suffixes(text: str, value: float):
    assert read_number(text) == value


@pytest.mark.parametrize(
    "text", ["4k7", "0x10", "1e", "1.5.2", "2mil", "1d3", "", "k", "1_000", "5%", "1e400", "1k-2", "nan", "inf"]
)
def test_numbers_that_are_none(text: str):
    with pytest.raises(NetlistError):
        read_number(text)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("2*v(a)-v(b)/4+1", ({("a", "0"): 2.0, ("b", "0"): -0.25}, 1.0)),
        ("-(v(a)-3)*2", ({("a", "0"): -2.0}, 6.0)),
        ("v(a)*v(b)", None),
        ("1/v(a)", None),
        ("exp(v(a))", None),
    ],
)
def test_weighted_sums_are_recognised(text: str, weights):
    def grounded(term: Term) -> Term:
        if term.kind == "voltage":
            return Term("voltage", value=(*term.value, "0")[:2])  # pyright: ignore[reportGeneralTypeIssues]
        return Term(term.kind, tuple(map(grounded, term.parts)), term.value)

    found = affine(grounded(parse(text, quantities=True)))
    assert (
        found == weights
        if weights is None
        else found is not None and found[0] == pytest.approx(weights[0]) and math.isclose(found[1], weights[1])
    )
