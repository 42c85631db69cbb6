"""Netlists as designers write them, each with something that another has not."""

from __future__ import annotations

TIGHT = ".options reltol=1e-9 vntol=1e-12 abstol=1e-15 itl1=1000\n"

VENDOR = (
    ".MODEL 1N4148 D(IS=4.352E-9 N=1.906 BV=110 IBV=0.0001 RS=0.6458 CJO=7.048E-13 VJ=0.869 M=0.03 FC=0.5 TT=3.48E-9)\n"
)


def _deck(body: str, title: str = "a deck") -> str:
    return f"{title}\n{TIGHT}{body}.op\n.end\n"


_ZENER = """\
* zener regulator
VIN in 0 12
R1 in out 1k
D1 0 out DZ5V1
RL out GND 10k
.model DZ5V1 D(Is=1.6n Rs=2 N=1.3 Cjo=100p nbv=3 bv=5.1 Ibv=5m
+ Tt=10n M=.33 VJ=.75 ISR=1.859n)
"""

_LOGIC = """\
* diode OR with pull-down, old-style numeric nodes
V1 1 0 DC 5 AC 0
V2 2 0 PULSE(0 5 1u 1n 1n 10u 20u)
D1 1 3 D1N914
D2 2 3 D1N914 ; off
R1 3 0 10K
.model D1N914 D(Is=2.52n Rs=.568 N=1.752 Cjo=4p M=.4 tt=20n)
"""

_CELLS = """\
.param gain=3 rin={2*rbase} rbase=50k
.subckt neuron in out PARAMS: g=2 r=10k
E1 a 0 in 0 {g}
R1 a b {r}
D1 b top dx
D2 bot b dx
Vt top 0 0.3
Vb bot 0 -0.3
X1 b out buffer k=1
.subckt buffer p q k=2
E1 q 0 p 0 {k}
.ends buffer
.model dx d(is=1e-12 n=1)
.ends neuron
V1 s 0 0.4
Rin s n1 {rin}
Rg n1 0 100k
X1 n1 y1 neuron g={gain}
X2 n1 y2 neuron params: g='gain/2' r=20k
RL y1 0 1meg
RL2 y2 0 1meg
"""

_SOURCES = """\
V1 in 0 2
R1 in 0 1k
E1 e 0 in 0 3
R2 e 0 1k
G1 0 g in 0 1m
R3 g 0 1k
F1 0 f V1 2
R4 f 0 1k
H1 h 0 V1 500
R5 h 0 1k
I1 0 i 1m
R6 i 0 1k
"""

_BEHAVIOUR = """\
V1 a 0 0.7
V2 b 0 -1.2
R0 a b 10k
B1 0 t I=1u*tanh(3*V(a,b))+V(a)*V(b)*1e-7
R1 t 0 1meg
B2 p 0 V=V(b)^3 + V(a)**2
R2 p 0 1k
B3 q 0 V = V(a) > 0 ? exp(V(a)) : 0
R3 q 0 1k
E4 r 0 VALUE={ln(1+V(a)*V(a))+sqrt(abs(V(b)))}
R4 r 0 1k
G5 0 s VALUE={1m*min(V(a),max(V(b),0.1))}
R5 s 0 1k
B6 u 0 V=i(V1)*1k+atan(V(a))+sgn(V(b))*u(V(a))+uramp(V(b))
R6 u 0 1k
B7 w 0 v='pwr(V(b),2)+pow(V(b),3)+cos(V(a))-sin(V(b))*tan(.2)'
R7 w 0 1k
"""

_STYLE = (
    "\ufeffstyle: CRLF, tabs, µ, comments of every kind\r\n" + TIGHT.replace("\n", "\r\n") + "* a comment\r\n"
    "$ another\r\n"
    "; and another\r\n"
    "// and one more\r\n"
    "\tV1\tIN\t0\tDC\t1.5 $ volts\r\n"
    "R1 in out 4.7kOhm ; ohms\r\n"
    "\r\n"
    "R2 out\r\n"
    "* between a card and its end\r\n"
    "+ gnd\r\n"
    "  + 2.2K // kilo\r\n"
    "C1 out 0 10µF\r\n"
    "C2 out 0 1uF IC=2\r\n"
    "L1 out o2 1mH\r\n"
    "R3 o2 0 1MEGohm\r\n"
    ".ic v(out)=3\r\n"
    ".nodeset v(out)=1\r\n"
    ".op\r\n"
    ".END\r\n"
    "\r\n* nothing but comments behind the end\r\n"
)

_ODD_NODES = """\
V1 vdd! 0 3.3
R1 vdd! n001 1k
R2 n001 a-b 2k
R3 a-b x#y 3k
R4 x#y bus[3] 4k
R5 bus[3] out+ 5k
R6 out+ out- 6k
R7 out- N_2 7k
R8 N_2 123 8k
R9 123 phase 9k
R10 phase time 1k
R11 time Energy 1k
R12 Energy 0 9k
"""

DECKS: dict[str, dict[str, str | bytes]] = {
    "divider": {"main.cir": _deck("V1 a 0 3\nR1 a b 1k\nR2 b 0 2k\n")},
    "zener": {"main.cir": _deck(_ZENER)},
    "diode or": {"main.cir": _deck(_LOGIC)},
    "nested cells": {"main.cir": _deck(_CELLS)},
    "linear sources": {"main.cir": _deck(_SOURCES)},
    "expressions": {"main.cir": _deck(_BEHAVIOUR)},
    "style": {"main.cir": _STYLE},
    "odd nodes": {"main.cir": _deck(_ODD_NODES)},
    "vendor signal diode": {
        "main.cir": _deck(VENDOR + "V1 a 0 5\nR1 a b 470\nD1 b c 1n4148\nD2 c 0 1N4148 3\nR2 b 0 1k\n")
    },
    "warm junctions": {
        "main.cir": _deck(
            ".temp 85\nV1 a 0 2\nR1 a b 10k tc1=1m tc2=2u\nD1 b 0 DS\nR2 a c 10k\nD2 c 0 DS temp=0\n"
            "R3 a d 1k dtemp=20 tc1=3.9m\nD3 d 0 DS dtemp=-30\n.model DS D(IS=1u N=1.05 RS=1 EG=.69 XTI=2 TRS=2m)\n"
        )
    },
    "options": {
        "main.cir": _deck(".options temp=50 tnom=40 gmin=1e-10\nI1 0 a 1u\nD1 a 0 DM\n.model DM D(IS=1e-14)\n")
    },
    "recombination and knee": {
        "main.cir": _deck(
            "V1 a 0 5\nR1 a b 100\nD1 b 0 DV\nR2 a c 10meg\nD2 c 0 DV\nVN m 0 -0.04\nR3 m d 10meg\nD3 d 0 DV\n"
            ".model DV D(IS=1e-15 N=1.02 RS=.05 IKF=3.6e-4 ISR=3e-13 NR=1.9 BV=98 IBV=1.42m VJ=.6 M=.4)\n"
        )
    },
    "breakdown": {
        "main.cir": _deck(
            "V1 a 0 -20\nR1 a b 1k\nD1 b 0 DB\nR2 a c 10meg\nD2 c 0 DB area=2\n.options temp=60\n"
            ".model DB D(IS=1e-12 N=1.1 BV=6.2 IBV=1m NBV=2 TCV=1m RS=3)\n"
        )
    },
    "area and multiples": {
        "main.cir": _deck(
            "I1 0 a 1m\nD1 a 0 DM 2.5\nI2 0 b 1m\nD2 b 0 DM area=2\nI3 0 c 1m\nD3 c 0 DM m=3\nI4 0 d 1m\n"
            "D4 d 0 DM off\n"
            "I5 0 e 2m\nR5 e 0 1k m=2\nI6 0 f 1m\nR6 f 0 1k scale=3\n.model DM D(IS=1e-12 RS=10 BV=50)\n"
        )
    },
    "ring modulator": {
        "main.cir": _deck(
            "VC c1 c2 0.8\nVS s 0 0.1\nRS s a 50\nE1 b 0 a 0 -1\nR1 a r1 10\nR2 b r2 10\nD1 r1 c1 DR\nD2 c1 r2 DR\n"
            "D3 r2 c2 DR\nD4 c2 r1 DR\nRL c1 0 1k\nRM c2 0 1k\n.model DR D(IS=2e-9 N=1.8 RS=1)\n"
        )
    },
    "bridge": {
        "main.cir": _deck(
            "VAC p n SIN(4 10 50 0 0 30)\nD1 p o DD\nD2 n o DD\nD3 0 p DD\nD4 0 n DD\nRL o 0 1k\nC1 o 0 100u\n"
            "RX p 0 1meg\n" + VENDOR.replace("1N4148", "DD")
        )
    },
    "waveforms": {
        "main.cir": _deck(
            "V1 a 0 SIN(1 2 1k 0 0 45)\nV2 b 0 PWL(0 2 1u 3)\nV3 c 0 PWL(-1 4 1 5)\nV4 d 0 EXP(3 4 1u 1u 2u 1u)\n"
            "V5 e 0 DC 7 SIN(1 2 1k)\nI1 0 f PULSE(1m 2m 0 1n 1n 1u 2u)\nR1 f 0 1k\nV6 g 0 AC 1\nV7 h 0\n"
            "V8 i 0 SIN 2 3 1k\n"
            "R2 a b 1k\nR3 c d 1k\nR4 e g 1k\nR5 h i 1k\n"
        )
    },
    "functions": {
        "main.cir": _deck(
            ".func par(a,b) {a*b/(a+b)}\n.func twice(x) '2*x'\n"
            ".param r1=1k r2={par(r1,twice(3k))} n={int(3.7)+nint(2.5)}\n"
            ".param p={-2^2+pow(-2,3)+pwr(-2,3)+2**3**2} q={r1>500 ? 2 : 3}\nV1 a 0 {n}\nR1 a b {r2}\n"
            "R2 b 0 {par(r1,r1)*q}\n"
            "I1 0 c {p*1m}\nR3 c 0 'sqrt(r1)*10'\nB1 d 0 V=twice(V(b))+par(V(a),2)\nR4 d 0 1k\n"
        )
    },
    "globals": {
        "main.cir": _deck(
            ".global vcc vss\nV1 vcc 0 5\nV2 vss 0 -5\n.subckt half a\nR1 vcc a 10k\nR2 a vss 20k\n"
            "R3 a inner 1k\nR4 inner gnd 1k\n"
            ".ends\nX1 m half\nX2 n half\nR1 m n 1k\n"
        )
    },
    "scopes": {
        "main.cir": _deck(
            ".param r=1k\n.subckt leaf a b\nR1 a b {r}\n.ends\n.subckt stem a b\n.param r={2*base}\nX1 a m leaf\n"
            "R2 m b {r}\n.ends\n"
            ".param base=3k\nV1 a 0 1\nX1 a b stem\nX2 b 0 leaf\n"
        )
    },
    "includes": {
        "main.cir": _deck(
            ".include 'parts/cells.inc'\n.lib models.lib TT\nV1 a 0 2\nX1 a b cell\nD1 b 0 dlib\n"
            '.include "parts/load.inc"\n'
        ),
        "parts/cells.inc": ".subckt cell p q\n.include deeper.inc\n.ends\n",
        "parts/deeper.inc": "R1 p q 2.2k\n",
        "parts/load.inc": "RL b 0 10k\n",
        "models.lib": ".lib FF\n.model dlib d(is=1e-9)\n.endl FF\n.lib tt\n.model dlib d(is=1e-12 n=1.1)\n.endl tt\n",
    },
    "control block": {
        "main.cir": f"control\n{TIGHT}V1 a 0 2\nR1 a b 1k\nR2 b 0 1k\n.op\n.control\nset noaskquit\n.endc\n.end\n"
    },
    "analyses": {
        "main.cir": _deck(
            "V1 a 0 2 AC 1\nR1 a b 1k\nR2 b 0 1k\nC1 b 0 1n\n.save all\n"
            "* .ac dec 10 1 1k\n.title another title\n.width out=80\n.csparam x=3\n"
        )
    },
    "negative and zero": {"main.cir": _deck("V1 a 0 1\nR1 a b 1k\nR2 b 0 -3k\nR3 b c 1k\nR4 c 0 2k\n")},
    "ladder of diodes": {
        "main.cir": _deck(
            "V1 n0 0 3\n"
            + "".join(f"R{i} n{i} n{i + 1} 1k\nD{i} n{i + 1} 0 DL\nRp{i} n{i + 1} 0 100k\n" for i in range(12))
            + ".model DL D(IS=1e-13 N=1.2 RS=5 ISR=1e-11 IKF=1m)\n"
        )
    },
    "lattice": {
        "main.cir": _deck(
            "V1 n0_0 0 1\nV2 n3_3 0 -0.5\n"
            + "".join(f"Rh{i}{j} n{i}_{j} n{i}_{j + 1} {1 + i + j}k\n" for i in range(4) for j in range(3))
            + "".join(f"Rv{i}{j} n{i}_{j} n{i + 1}_{j} {2 + i * j}k\n" for i in range(3) for j in range(4))
        )
    },
    "comparator": {
        "main.cir": _deck(
            "V1 p 0 0.52\nV2 n 0 0.5\nR0 p n 1meg\nB1 o 0 V=2.5+2.5*tanh(100*(V(p)-V(n)))\nR1 o 0 1k\n"
            "B2 0 x I=V(o)>2.5 ? 1m : 0\nR2 x 0 1k\n"
        )
    },
    "op amp": {
        "main.cir": _deck(
            "* inverting amplifier\n.subckt opamp inp inn out\nRin inp inn 1meg\nE1 x 0 inp inn 100k\n"
            "Ro x out 75\n.ends\n"
            "V1 in 0 0.1\nR1 in m 10k\nR2 m out 47k\nX1 0 m out opamp\nRL out 0 10k\n"
        )
    },
    "keywords of other simulators": {
        "main.cir": _deck(
            "V1 limit 0 1\nR1 limit table 1k\nR2 table all 1k\nR3 all frequency 1k\nR4 frequency ground 1k\n"
            "R5 ground 0 1k\nR6 if 0 1k\nR7 if all 1k\n"
        )
    },
    "many voltages": {
        "main.cir": _deck(
            "".join(f"V{i} a{i} 0 {0.1 * i - 0.4:.1f}\nRa{i} a{i} 0 1k\n" for i in range(9))
            + "B1 q 0 V=tanh("
            + "+".join(f"{i + 1}*V(a{i})/3" for i in range(9))
            + "-0.2)+V(a1)*V(a2)*0.5-(V(a3)-V(a4))\nR1 q 0 1k\n"
            + "B2 0 r I=1m*("
            + "-".join(f"V(a{i})" for i in range(9))
            + ")\nR2 r 0 1k\n"
        )
    },
    "latin-1 comment": {"main.cir": b"latin\n" + TIGHT.encode() + b"V1 a 0 1\nR1 a b 1k\nR2 b 0 2k\n.op\n.end\n"},
}
