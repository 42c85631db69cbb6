"""Netlists that learn: XOR with subcircuits and a vendor's diodes, and a regression on a lattice."""

from __future__ import annotations

import random

from tests.design_decks import TIGHT


def xor_deck(seed: int = 1, hidden: int = 4) -> str:
    """A designer's XOR: hidden nodes with diodes to their bias voltages, weights as parameters of instances."""
    drawn = random.Random(seed)

    def ohms() -> str:
        return f"{10 ** drawn.uniform(3.5, 5.0):.4g}"

    rows = []
    for k in range(hidden):
        weights = " ".join(f"g{i}={ohms()}" for i in range(6))
        rows.append(f"Xh{k} x1 x1n x2 x2n one none h{k} NEURON {weights} level={(-0.2, 0.2)[k % 2]}")
    out = [f"R_w{side}{k} h{k} out{'+' if side == 'p' else '-'} {ohms()}" for side in "pm" for k in range(hidden)]
    return f"""XOR with subcircuits, parameters and a vendor's diode
{TIGHT}*@ train r_w* 1e-6 1e-3
*@ input Va Van Vb Vbn
*@ output out+ out-
.param supply=1
* the inputs and their inverses
Va x1 0 DC 1
Van x1n 0 DC -1
Vb x2 0 DC -1
Vbn x2n 0 DC 1
Vone one 0 {{supply}}
Vnone none 0 '-supply'
.SUBCKT NEURON a an b bn one none s PARAMS: g0=10k g1=10k g2=10k g3=10k g4=10k g5=10k level=0
R_w0 a  s {{g0}}
R_w1 an s {{g1}} ; inverted
R_w2 b  s {{g2}}
R_w3 bn s {{g3}}
R_w4 one s {{g4}}
R_w5 none s {{g5}}
Xc s clamp level={{level}}
.ENDS
.subckt clamp s level=0
Vt top 0 {{level}}
D1 s top D1N4148
D2 top s D1N4148
.ends clamp
{chr(10).join(rows)}
{chr(10).join(out)}
.MODEL D1N4148 D(IS=4.352E-9 N=1.906 BV=110 IBV=0.0001 RS=0.6458 CJO=7.048E-13 VJ=0.869
+ M=0.03 FC=0.5 TT=3.48E-9)
.op
.end
"""


def lattice_deck(seed: int = 1, side: int = 4) -> str:
    """A square lattice of resistors with diodes to ground at some nodes."""
    drawn = random.Random(seed)
    lines = ["4x4 lattice", TIGHT.strip(), "V1 n0_0 0 1", "V2 n3_0 0 0.5", "V0 n0_3 0 0.2"]
    for i in range(side):
        for j in range(side):
            if j + 1 < side:
                lines.append(f"Rw_h{i}{j} n{i}_{j} n{i}_{j + 1} {drawn.uniform(5, 50):.3f}kOhm")
            if i + 1 < side:
                lines.append(f"Rw_v{i}{j} n{i}_{j} n{i + 1}_{j} {drawn.uniform(5, 50):.3f}kOhm $ vertical")
            if (i + j) % 3 == 2:
                lines.append(f"D{i}{j} n{i}_{j} 0 DM")
    lines += [".model DM D(IS=1e-9 N=1.5)", ".op", ".end", ""]
    return "\r\n".join(lines)
