"""Model files as vendors write them, included in a designer's netlist."""

from __future__ import annotations

from pathlib import Path

import pytest

from analog_ep.designs import read_netlist
from analog_ep.errors import NetlistError
from tests.design_decks import TIGHT
from tests.read_by_ngspice import plain_voltages
from tests.test_designs import VOLTS, newton_voltages, write

pytestmark = pytest.mark.ngspice

PARAMETERS = "IS=10.4n RS=51.5m N=2.07"

FILES: dict[str, tuple[bytes, str, str]] = {
    "no RS": (b".model DX D(Is=1n N=2)\n", "IS=1n N=2", ""),
    "Schottky, warm": (b".model DX D(Is=1.042e-8 N=1.029 RS=5.567 EG=0.69 XTI=2)\n", "", ".temp 50\n"),
    "vendor's keys": (
        b".model DX D(Is=2.52n Rs=.568 N=1.752 Cjo=4p M=.4 tt=20n Iave=200m Vpk=75 mfg=Acme type=silicon)\n",
        "Is=2.52n Rs=.568 N=1.752",
        "",
    ),
    "UTF-8 comment": (f"* trr = 3µs, Ω, 25°C\n.MODEL DX D ( {PARAMETERS} )\n".encode(), PARAMETERS, ""),
    "Latin-1 comment": (b"* trr = 3\xb5s\n.MODEL DX D ( IS=10.4n RS=51.5m N=2.07 )\n", PARAMETERS, ""),
    "micro": (".MODEL DX D ( IS=1µ RS=51.5m N=2.07 )\n".encode(), "IS=1u RS=51.5m N=2.07", ""),
    "byte order mark": (f"\ufeff.model DX D({PARAMETERS})\n".encode(), PARAMETERS, ""),
    "semicolon": (f".MODEL DX D ( {PARAMETERS} ) ; typical\n".encode(), PARAMETERS, ""),
    "dollar": (f".MODEL DX D ( {PARAMETERS} ) $ typical\n".encode(), PARAMETERS, ""),
}


def _deck(settings: str, models: str) -> str:
    return f"a vendor's diode\n{TIGHT}{settings}V1 a 0 1\nR1 a b 1k\nD1 b 0 DX\n{models}.op\n.end\n"


@pytest.mark.parametrize("name", FILES)
def test_a_vendors_model_is_that_of_plain_parameters(name: str, tmp_path: Path):
    content, parameters, settings = FILES[name]
    model = f".model DX D({parameters})\n" if parameters else content.decode()
    theirs = plain_voltages({"main.cir": _deck(settings, model)})
    assert theirs is not None
    files: dict[str, str | bytes] = {"main.cir": _deck(settings, ".include vendor.lib\n"), "vendor.lib": content}
    ours = newton_voltages(read_netlist(write(tmp_path, files)))
    assert ours["b"] == pytest.approx(theirs["b"], abs=VOLTS, rel=0)


def test_a_surplus_ends_is_named_where_it_stands(tmp_path: Path):
    vendor = ".MODEL DX D\n+ IS=805.84E-18\n+ N=1.0246\n.ENDS\n"
    path = write(tmp_path, {"main.cir": _deck("", ".include vendor.lib\n"), "vendor.lib": vendor})
    with pytest.raises(NetlistError, match=r"vendor.lib, line 4: an .ends must stand behind a .subckt, found it alone"):
        read_netlist(path)


def test_an_ends_with_a_star_is_one(tmp_path: Path):
    vendor = (
        ".SUBCKT SBX 1 2\nR1 1 2 3E+7\nD1 1 2 SBX\n.MODEL SBX D\n+ IS = 1.042E-8\n+ N = 1.029\n"
        "+ BV = 17\n+ IBV = 0.001\n+ RS = 5.567\n+ EG = 0.69\n+ XTI = 2\n.ENDS*\n"
    )
    deck = f"t\n{TIGHT}V1 a 0 1\nR1 a b 1k\nX1 b 0 SBX\n.include vendor.lib\n.op\n.end\n"
    files: dict[str, str | bytes] = {"main.cir": deck, "vendor.lib": vendor}
    theirs = plain_voltages(files)
    assert theirs is not None
    assert newton_voltages(read_netlist(write(tmp_path, files)))["b"] == pytest.approx(theirs["b"], abs=VOLTS, rel=0)
