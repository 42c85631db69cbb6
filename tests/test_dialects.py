"""Decks for other simulators: their text, and the numbers that come out of those that can be run or read here."""

# pyright: reportArgumentType=false

import ast
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from both_phases import NUDGES, phases
from deck_circuits import alternating, every_element, measured, network
from gnucap import ATOL, RTOL, gnucap_tables, with_gnucap_constants
from reference_decks import dialect_deck

import analog_ep
from analog_ep.circuit import Circuit
from analog_ep.devices import DiodeClamp
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.netlist.deck import write_deck
from analog_ep.netlist.dialects import DIALECTS
from analog_ep.ngspice.process import find_ngspice
from analog_ep.ngspice.raw import read_raw
from analog_ep.stimulus import Nudge, SquaredError

CIRCUITS: dict[str, Callable[[], Circuit]] = {
    "every element": every_element,
    "junctions": lambda: network([2, 3, 2], alternating(3)),
    "measured": lambda: network([2, 3, 2], DiodeClamp(measured(), upper=-0.2, lower=0.2)),
}


@pytest.mark.gnucap
@pytest.mark.parametrize("case", CIRCUITS)
def test_gnucap_solves_its_deck(case, tmp_path):
    circuit = CIRCUITS[case]()
    deck, truth = phases(circuit, "frozen", "gnucap", with_gnucap_constants(circuit))
    printed = gnucap_tables(deck, tmp_path)
    compared = [name for name in circuit.node_names if f"v({name})" in printed]
    assert len(compared) >= 4
    for name in compared:
        np.testing.assert_allclose(printed[f"v({name})"], truth[:, circuit.node(name)], atol=ATOL, rtol=RTOL)


def read_by_ngspice(deck: str, circuit: Circuit, folder: Path) -> np.ndarray:
    """Voltages `(2, n_nodes)` of a deck whose cards ngspice understands, found without its own print cards."""
    kept = [line for line in deck.splitlines() if not re.match(r"\.(print|save|probe)|\+ v\(", line)]
    (folder / "deck.cir").write_text("\n".join(kept) + "\n")
    command = [str(find_ngspice()), "-n", "-b", "-r", "out.raw", "deck.cir"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    raw = read_raw(folder / "out.raw", 2)
    return np.stack([np.zeros(2), *(raw.columns([f"v({name})"])[:, 0] for name in circuit.node_names[1:])], axis=1)


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", NUDGES)
@pytest.mark.parametrize("dialect", ["xyce", "ltspice", "hspice", "spectre"])
@pytest.mark.parametrize("case", CIRCUITS)
def test_cards_of_the_others_mean_the_same_circuit(case, dialect, kind, tmp_path):
    circuit = CIRCUITS[case]()
    deck, truth = phases(circuit, kind, dialect)
    found = read_by_ngspice(READERS[dialect](deck), circuit, tmp_path)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-8)


def tolerances(deck: str, pattern: str) -> str:
    """The deck with its options in ngspice's words; what they must say is asserted."""
    values = re.search(pattern, deck)
    assert values is not None, deck[:2000]
    assert values.groupdict() == {"temp": "27.0", "tnom": "27.0", "reltol": "1e-09", "vntol": "1e-12", "gmin": "1e-15"}
    ours = ".options temp=27 tnom=27 reltol=1e-9 vntol=1e-12 abstol=1e-15 gmin=1e-15 itl1=1000 itl2=500"
    title, rest = re.sub(r"^\.(temp|options?) .*\n", "", deck, flags=re.MULTILINE).split("\n", 1)
    return f"{title}\n{ours}\n{rest}"


def from_xyce(deck: str) -> str:
    deck = tolerances(
        deck,
        r"\.options device temp=(?P<temp>\S+) tnom=(?P<tnom>\S+) gmin=(?P<gmin>\S+)\n"
        r"\.options nonlin reltol=(?P<reltol>\S+) abstol=(?P<vntol>\S+) ",
    )
    assert ".print dc precision=12 v(" in deck
    assert all("={" in line and line.endswith("}") for line in deck.splitlines() if line.startswith("b_"))
    return deck


def from_ltspice(deck: str) -> str:
    assert "\n.save v(" in deck
    return tolerances(
        deck,
        r"\.temp (?P<temp>\S+)\n\.options tnom=(?P<tnom>\S+) reltol=(?P<reltol>\S+) vntol=(?P<vntol>\S+) abstol=1e-15 "
        r"gmin=(?P<gmin>\S+) ",
    )


def from_hspice(deck: str) -> str:
    assert not re.search(r"^b_", deck, re.MULTILINE)
    deck = tolerances(
        deck,
        r"\.temp (?P<temp>\S+)\n\.option tnom=(?P<tnom>\S+) reltol=(?P<reltol>\S+) reli=1e-09 vntol=(?P<vntol>\S+) "
        r"abstol=1e-15 gmin=(?P<gmin>\S+) gmindc=1e-15 ",
    )
    return re.sub(r"D\(LEVEL=1 (.*) TREF=", r"D(\1 TNOM=", deck)


MASTERS = {
    "resistor": ("r", "{r}"), "capacitor": ("c", "{c}"), "vsource": ("v", "{dc}"), "isource": ("i", "{dc}"),
    "vcvs": ("e", "{gain}"), "vccs": ("g", "{gm}"), "cccs": ("f", "{probe} {gain}"), "ccvs": ("h", "{probe} {rm}"),
}  # fmt: skip


def from_spectre(deck: str) -> str:
    """Reads Spectre's language as far as the decks use it; shares nothing with the writer."""
    assert "\nsimulator lang=spectre\nglobal 0\n" in deck
    values = "temp=27.0 tnom=27.0 reltol=1e-09 vabstol=1e-12 iabstol=1e-15 gmin=1e-15"
    assert f"\ntolerances options {values} " in deck
    cards = ["* read", ".options temp=27 tnom=27 reltol=1e-9 vntol=1e-12 abstol=1e-15 gmin=1e-15 itl1=1000 itl2=500"]
    text = re.sub(r" \\\n *", " ", deck)
    for line in text.splitlines():
        if instance := re.fullmatch(r"(\w+) \(([^)]*)\) (\w+) ?(.*)", line):
            cards.append(spectre_instance(*instance.groups()))
        elif model := re.fullmatch(r"model (\w+) diode (.*)", line):
            cards.append(f".model {model[1]} d({model[2]})")
        elif sweep := re.fullmatch(r"phases dc dev=(\S+) param=dc start=(\S+) stop=(\S+) step=(\S+)", line):
            cards.append(f".dc {' '.join(sweep.groups())}")
        else:
            assert not line or line.startswith(("//", "simulator ", "global ", "tolerances options ", "save ")), line
    return "\n".join([*cards, ".end"])


def spectre_instance(name: str, nodes: str, master: str, parameters: str) -> str:
    if master == "bsource":
        return f"{name} {nodes} {parameters}"
    values = dict(word.split("=") for word in parameters.split())
    if master in MASTERS:
        letter, form = MASTERS[master]
        assert name.startswith(letter)
        return f"{name} {nodes} {form.format(**values)}"
    warmer = f" dtemp='{values.pop('trise')}er'" if "trise" in values else ""
    assert not values
    return f"{name} {nodes} {master}{warmer}"


READERS = {"xyce": from_xyce, "ltspice": from_ltspice, "hspice": from_hspice, "spectre": from_spectre}


def test_every_dialect_says_how_to_run_it_and_whether_it_was_run():
    for name, dialect in DIALECTS.items():
        deck = dialect_deck(name)
        assert deck.isascii()
        assert dialect.how_to_run in deck.replace(f"\n{dialect.comment_mark}   ", " ")
        assert ("checked with" in dialect.how_to_run) == (name in ("ngspice", "gnucap", "vacask"))
        assert ("not run there" in dialect.how_to_run) == (name not in ("ngspice", "gnucap", "vacask"))
        assert max(map(len, deck.splitlines())) < 1000


def test_what_a_dialect_cannot_carry():
    circuit = network([2, 2, 1], alternating(2))
    inputs, target = np.array([1.0, -1.0]), torch.tensor([1.0])
    nudge = Nudge(1e-5, target, SquaredError(), "elastic")
    with pytest.raises(CircuitError, match="a gnucap netlist has no expressions, found one needed for b_phase_0"):
        write_deck(circuit, inputs, nudge, phase="both", dialect="gnucap")
    with pytest.raises(
        StimulusError,
        match="dialect must be one of ngspice, xyce, ltspice, hspice, spectre, gnucap, vacask, found 'eldo'",
    ):
        write_deck(circuit, inputs, dialect="eldo")


_WORDS = "options?|dc|ac|tran|noise|save|print|width|model|meas|ic|nodeset|end|include"
_CARD = re.compile(rf"(?i:\.({_WORDS})\b)|[rcvieg]_\w+ |v\w+ \w+ \w+ \d")
_READERS = {"analog_ep/designs", "analog_ep/calibration/solver/cards.py"}
"""What takes a user's own text and hands it back."""


def test_no_card_is_written_but_by_a_dialect():
    package = Path(analog_ep.__file__).parent
    found = []
    for file in sorted(package.rglob("*.py")):
        where = file.relative_to(package.parent).as_posix()
        if where.startswith("analog_ep/netlist/") or any(where.startswith(reader) for reader in _READERS):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = ((node, text) for node in ast.walk(tree) if id(node) not in docs and (text := _text_of(node)))
        found += [f"{where}:{getattr(node, 'lineno', 0)}: {text[:40]!r}" for node, text in texts if _CARD.match(text)]
    assert found == []


def _text_of(node: ast.AST) -> str:
    """A text of the source, with 0 for what is put into it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text_of(part) or "0" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
