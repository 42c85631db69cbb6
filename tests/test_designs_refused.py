"""What a design may not hold ends in one line: file, line, what must hold, what was found."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from analog_ep.designs import read_netlist
from analog_ep.errors import ConvergenceError, NetlistError
from tests.deck_mutations import mutated
from tests.design_decks import DECKS, TIGHT
from tests.read_by_ngspice import plain_voltages
from tests.test_designs import VOLTS, newton_voltages, write

BASE = "V1 a 0 1\nR1 a b 1k\nR2 b 0 2k\n"

CASES: list[tuple[str, int, str]] = [
    (BASE + "M1 a b 0 0 NMOS\n", 5, "R C L K V I D E F G H B X, found 'M1 a b 0 0 NMOS', a MOSFET"),
    (BASE + "Q1 a b 0 QN\n", 5, "a bipolar transistor"),
    (BASE + "R3 b 0 4k7\n", 5, "found '4k7'; ngspice would pass over its end"),
    (BASE + "R3 b 0 0x10\n", 5, "found '0x10'"),
    (BASE + "R3 b 0 2mil\n", 5, "25.4e-6 to some and 1e-3 to others"),
    (BASE + "R3 b 0 1e400\n", 5, "must be finite"),
    (BASE + "R3 b 0 rw\n.param rw=1k\n", 5, "write {rw} for a parameter"),
    (BASE + "R3 b 0 {rw}\n", 5, "found none called 'rw'"),
    (BASE + "R3 b 0 {1/0}\n", 5, "a finite value, found / of 1 and 0"),
    (BASE + "R3 b 0 {agauss(1k,1,3)}\n", 5, "which ngspice draws anew"),
    (BASE + "R3 b 0 {nofunction(2)}\n", 5, "found 'nofunction'"),
    (BASE + "R3 b 0 {max(1)}\n", 5, "must have 2 arguments, found 1"),
    (BASE + "R3 b 0 {2*(3}\n", 5, "')' must stand here"),
    (BASE + "R3 b 0 {2\n", 5, "a brace or quote must be closed"),
    (BASE + "R3 b 0 1k 2k\n", 5, "no model, found '2k'"),
    (BASE + "R3 b 0\n", 5, "one value, found none"),
    (BASE + "R3 b 0 1k foo=3\n", 5, "found 'foo'"),
    (BASE + "R3 b,0 1k\n", 5, "parted by blanks"),
    (BASE + "r1 b 0 1k\n", 5, "different names, found 'r1' in"),
    (BASE + "X1 b 0 nothing\n", 5, "found none called 'nothing'"),
    (BASE + ".subckt s p q\nR1 p q 1k\n.ends\nX1 b s\n", 8, "2 nodes, found 1"),
    (BASE + ".subckt s p q\nR1 p q 1k\n.ends\nX1 b 0 s r=3\n", 8, "one of none, found 'r'"),
    (BASE + ".subckt s p q\nX1 p q s\n.ends\nX1 b 0 s\n", 6, "must not hold itself"),
    (BASE + ".subckt s p q\nR1 p q 1k\n", 5, "must have its .ends"),
    (BASE + ".ends\n", 5, "behind a .subckt, found it alone"),
    (BASE + ".subckt s p p\n.ends\n", 5, "different nodes, and not ground, found 'p'"),
    (BASE + ".param x=1\n.param x=2\n", 6, "given once, found 'x'"),
    (BASE + ".param x={y}\n.param y={x}\n", 5, "must not need itself"),
    (BASE + ".param x=1 + 2\n", 5, "an expression with blanks in {}"),
    (BASE + ".func f(x) {f(x)+1}\nR3 b 0 {f(1)}\n", 6, "must not call themselves"),
    (BASE + ".func f(x) {f(x)+1}\n.func f(x) {x}\n", 6, "defined once"),
    (BASE + ".if 1\n.endif\n", 5, "found .if"),
    (BASE + "D1 b 0 none\n", 5, "found none called 'none'"),
    (BASE + "D1 b 0 DM\n.model DM D(IS=1n FOO=3)\n", 6, "found 'FOO'; take it out"),
    (BASE + "D1 b 0 DM\n.model DM D(IS=1n is=2n)\n", 6, "found 'is' twice"),
    (BASE + "D1 b 0 DM\n.model DM D(IS=-1n)\n", 6, "IS of a diode must be positive"),
    (BASE + "D1 b 0 DM\n.model DM NPN(IS=1n)\n", 6, "of type D, found 'NPN'"),
    (BASE + "D1 b 0 DM\n.model DM AKO:DX D(IS=1n)\n", 6, "write out all its parameters"),
    (BASE + "D1 b 0 DM\n.model DM D(Ron=1 Vfwd=.6)\n", 6, "found 'Ron'"),
    (BASE + "D1 b 0 DM pj=3\n.model DM D(IS=1n)\n", 5, "found 'pj'"),
    (BASE + "E1 c 0 POLY(1) a 0 0 1\n", 5, "write it as value={…}"),
    (BASE + "F1 0 b R1 2\n", 5, "that of a voltage source V beside it, found 'R1'"),
    (BASE + "L1 b 0 1m\nF1 0 b L1 2\n", 6, "put a 0 V source in its way"),
    (BASE + "B1 0 c I=V(a)*time\nR3 c 0 1k\n", 5, "must hold at rest, found 'time'"),
    (BASE + "B1 0 c I=limit(V(a),0,1)\nR3 c 0 1k\n", 5, "which ngspice draws anew"),
    (BASE + "B1 0 c I=V(a)*nope\nR3 c 0 1k\n", 5, "found none called 'nope'"),
    (BASE + "B1 0 c I=ddt(V(a))\nR3 c 0 1k\n", 5, "found 'ddt'"),
    (BASE + "B1 0 c R=V(a)\n", 5, "v=expression or i=expression"),
    (BASE + "V2 c 0 TRNOISE(1 1n 0 0)\nR3 c 0 1k\n", 5, "found 'TRNOISE'"),
    (BASE + "V2 c 0 1 DC 2\nR3 c 0 1k\n", 5, "one DC value, found two"),
    (BASE + "V2 c 0 PULSE(1 2 -1n)\nR3 c 0 1k\n", 5, "begin at 0 s or later"),
    (BASE + "R3 c d 1k\n", 5, "resistive path to ground"),
    (BASE + "V2 a 0 2\n", 2, "must not form a loop"),
    (BASE + "I1 0 c 1m\nC1 c 0 1n\n", 5, "with a resistive path to ground, found an open node 'c'"),
    (BASE + ".options rshunt=1g\n", 5, "found 'rshunt'"),
    (BASE + ".temp 20 30\n", 5, "one temperature"),
    (BASE + ".temp -300\n", 5, "above -273.15 °C"),
    (BASE + ".include nothere.inc\n", 5, "found none called 'nothere.inc'"),
    (BASE + ".include main.cir\n", 5, "must not include itself"),
    (BASE + ".lib nothere.lib TT\n", 5, "found none called 'nothere.lib'"),
    (BASE + ".lib TT\n", 5, "to read a whole file write .include"),
    (BASE + ".endl\n", 5, "must end a .lib section"),
    (BASE + ".control\nshell touch executed\n", 5, "must have its .endc"),
    (BASE + ".end\nR3 b 0 1k\n", 6, "nothing may stand behind the .end in line 5"),
    (BASE + "R3 b 0 1kΩ\n", 5, "plain ASCII without ` \" and \\, found 'Ω' at column 10"),
    (BASE + "R3 b 0 `ls`\n", 5, "found '`'"),
    (BASE + "B1 0 c I=" + "(" * 60 + "1" + ")" * 60 + "\n", 5, "at most 50 brackets"),
    (BASE + "B1 0 c I=" + "+".join(["V(a)"] * 300) + "\n", 5, "at most 250 operators"),
    (BASE + "R3 b 0 {" + "1+" * 3000 + "1}\n", 5, "at most 5000 characters"),
    ("V1 a 0 1\nR1 a b 1k\nR2 b 0 2k\n*@ train r9 1e-6 1e-2\n", 5, "found none that fits 'r9'; there are r1, r2"),
    (
        BASE + "*@ train r1 1e-6 1e-4\n",
        3,
        "must begin in the range 1e-06…0.0001 S, which is 10000…1e+06 Ω, found 1000 Ω",
    ),
    (BASE + "*@ train r1 1e-4 1e-6\n", 5, "two rising positive numbers"),
    (BASE + "*@ train r1\n", 5, "a range of two numbers, and S or ohm"),
    (BASE + "*@ train r1 1e-6 1e-2\n*@ train r* 1e-7 1e-2 S\n", 6, "r1 must have one range, found 1e-07…0.01 S beside"),
    (BASE + "*@ input vx\n", 5, "found none called 'vx'; there are v1"),
    (BASE + "*@ input v1 v1\n", 5, "an input once, found 'v1' twice"),
    (BASE + "*@ output zz\n", 5, "found none called 'zz'; there are a, 0, b"),
    (BASE + "*@ output a,a\n", 5, "between two nodes"),
    (BASE + "*@ learn r1\n", 5, "must be train, input or output, found 'learn r1'"),
    (BASE + "R3 b 0 {2*rr}\n.param rr=1k\n*@ train r3 1e-6 1e-2\n", 5, "found an expression for r3"),
    (BASE + "R3 b 0 {rr}\nR4 b 0 {2*rr}\n.param rr=1k\n*@ train r3 1e-6 1e-2\n", 5, "found that r4 has it too"),
    (BASE + "R3 b 0 {rr}\nI1 0 b {rr*1u}\n.param rr=1k\n*@ train r3 1e-6 1e-2\n", 5, "found that i1 has it too"),
    (
        BASE + ".subckt s p\nRw p 0 1k\n.ends\nX1 a s\nX2 b s\n*@ train x1.rw 1e-6 1e-2\n",
        6,
        "found that x2.rw has it too",
    ),
]


@pytest.mark.parametrize(("body", "line", "words"), CASES, ids=[f"{i}" for i in range(len(CASES))])
def test_a_line_says_what_is_wrong(body: str, line: int, words: str, tmp_path: Path):
    path = write(tmp_path, {"main.cir": f"title\n{body}"})
    with pytest.raises(NetlistError) as caught:
        read_netlist(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"{path}, line {line}: ")
    assert "\n" not in message


def test_every_unread_file_is_named(tmp_path: Path):
    with pytest.raises(NetlistError, match="must be a readable netlist"):
        read_netlist(tmp_path / "nothere.cir")
    with pytest.raises(NetlistError, match="bytes of zero"):
        read_netlist(write(tmp_path, {"main.cir": "title\nR1 a 0 1\n".encode("utf-16")}))
    with pytest.raises(NetlistError, match="must hold elements behind its title, found none"):
        read_netlist(write(tmp_path, {"main.cir": "R1 a 0 1\n"}))
    with pytest.raises(NetlistError, match="line 2: a \\+ must continue a card"):
        read_netlist(write(tmp_path, {"main.cir": "title\n+ R1 a 0 1\n"}))


@pytest.mark.parametrize("name", ["../secret.inc", "/etc/passwd", "link.inc", "sub/../../secret.inc", "~/x", "$HOME/x"])
def test_no_file_outside_of_the_folder_is_read(name: str, tmp_path: Path):
    (tmp_path / "secret.inc").write_text("R9 b 0 1k\n")
    folder = tmp_path / "design"
    path = write(folder, {"main.cir": f"title\n{BASE}.include {name}\n", "sub/x.inc": "\n"})
    (folder / "link.inc").symlink_to(tmp_path / "secret.inc")
    with pytest.raises(
        NetlistError, match=r"line 5: (an included file must (lie in|be there)|a .include must name a file)"
    ):
        read_netlist(path)


def test_a_wider_folder_can_be_given(tmp_path: Path):
    (tmp_path / "shared.inc").write_text("R9 b 0 1k\n")
    path = write(tmp_path / "design", {"main.cir": f"title\n{BASE}.include ../shared.inc\n"})
    assert newton_voltages(read_netlist(path, folder=tmp_path))["b"] == pytest.approx((2 / 3) / (1 + 2 / 3), abs=1e-12)


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    body = ".control\nshell touch executed\n.endc\n*#shell touch executed\n.op\n.end\n"
    design = read_netlist(write(tmp_path, {"main.cir": f"title\n{BASE}{body}"}))
    assert newton_voltages(design)["b"] == pytest.approx(2 / 3, abs=1e-12)
    assert not (tmp_path / "executed").exists()
    assert any("control block" in note for note in design.notes)
    assert any("*#" in note for note in design.notes)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "".join(f".subckt s{i} a b\n" + f"X1 a b s{i + 1}\nX2 a b s{i + 1}\n" * 1 + ".ends\n" for i in range(30))
            + ".subckt s30 a b\nR1 a b 1k\n.ends\nX1 a 0 s0\n",
            "at most 200000 elements",
        ),
        (
            "".join(f".subckt s{i} a b\nX1 a b s{i + 1}\nX2 a b s{i + 1}\n.ends\n" for i in range(30))
            + ".subckt s30 a b\n.ends\nX1 a 0 s0\n",
            "at most 200000 elements",
        ),
        (
            "".join(f".func f{i}(x) {{f{i + 1}(x)+f{i + 1}(x)}}\n" for i in range(40))
            + ".func f40(x) {x}\nR1 a 0 {f0(1)}\n",
            "at most 20000 terms",
        ),
        ("".join(f".param p{i}={{p{i + 1}}}\n" for i in range(3000)) + ".param p3000=1\nR1 a 0 {p0}\n", "less deep"),
    ],
    ids=["instances", "empty instances", "functions", "parameters"],
)
def test_what_would_grow_without_end_is_refused_soon(body: str, words: str, tmp_path: Path):
    begin = time.monotonic()
    with pytest.raises(NetlistError, match=words):
        read_netlist(write(tmp_path, {"main.cir": f"title\n{body}V1 a 0 1\n"}))
    assert time.monotonic() - begin < 10


def test_mutated_decks_are_read_as_ngspice_reads_them_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outside.txt").write_text("R99 a 0 1\n")
    names = [name for name, files in DECKS.items() if isinstance(files["main.cir"], str)]
    outcomes, messages = {"read": 0, "refused": 0}, []
    for seed in range(1000):
        drawn = random.Random(seed)
        name = drawn.choice(names)
        text = DECKS[name]["main.cir"]
        assert isinstance(text, str)
        files = {**DECKS[name], "main.cir": mutated(text, drawn)}
        path = write(tmp_path / f"deck{seed}", files)
        try:
            ours = newton_voltages(read_netlist(path))
        except (NetlistError, ConvergenceError) as error:
            messages.append((type(error), str(error)))
            outcomes["refused"] += 1
            continue
        theirs = plain_voltages(files)
        if theirs is not None:
            apart = {
                n: (v, theirs.get(n))
                for n, v in ours.items()
                if not abs(v - theirs.get(n, 1e99)) <= VOLTS * max(1, abs(v))
            }
            assert apart == {}, (seed, name)
            outcomes["read"] += 1
    assert not list(tmp_path.rglob("executed"))
    assert [m for kind, m in messages if "\n" in m or (kind is NetlistError and "line " not in m)] == []
    assert outcomes["read"] > 200
    assert outcomes["refused"] > 400


def test_the_title_is_no_card(tmp_path: Path):
    text = f"R9 a 0 1\n{TIGHT}{BASE}.op\n"
    theirs = plain_voltages({"main.cir": text})
    assert theirs is not None
    assert theirs["b"] == pytest.approx(2 / 3)
    assert newton_voltages(read_netlist(write(tmp_path, {"main.cir": text})))["b"] == pytest.approx(2 / 3, abs=1e-12)
