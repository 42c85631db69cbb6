"""Diodes of a netlist's model cards: every parameter is simulated, without effect at rest, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from analog_ep.calibration.solver.cards import WITHOUT_MEANING
from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE, ZERO_CELSIUS, thermal_voltage
from analog_ep.designs.definitions import pairs_of
from analog_ep.designs.scopes import Scope
from analog_ep.designs.source import Card, Word, words_of
from analog_ep.designs.vendor_diode import VendorDiode
from analog_ep.devices import Diode, ShockleyDiode

_OLD_NAMES = {
    "js": "is",
    "cj0": "cjo",
    "cj": "cjo",
    "pb": "vj",
    "mj": "m",
    "tref": "tnom",
    "nz": "nbv",
    "ik": "ikf",
    "jsw": "jsw",
    "trs1": "trs",
}

_DEFAULTS = {
    "is": 1e-14,
    "n": 1.0,
    "rs": 0.0,
    "eg": 1.11,
    "xti": 3.0,
    "trs": 0.0,
    "trs2": 0.0,
    "ibv": 1e-3,
    "tcv": 0.0,
    "tlev": 0.0,
    "isr": 0.0,
    "nr": 1.0,
    "vj": 1.0,
    "m": 0.5,
    "fc": 0.5,
    "tlevc": 0.0,
    "tpb": 0.0,
    "tm1": 0.0,
    "tm2": 0.0,
}
_WITHOUT_DEFAULT = ("bv", "nbv", "ikf", "ikr", "tnom", "level")
_CHARGE = frozenset(
    ["cjo", "tt", "cjp", "cjsw", "php", "vjsw", "mjsw", "fcs", "cta", "ctc", "ctp", "tphp", "ttt1", "ttt2", "kf", "af"]
)
"""Capacitance, transit time and flicker noise: nothing at rest."""

_RATINGS = frozenset(["fv_max", "bv_max", "id_max", "te_max", "pd_max", "jsw", "ns", "rth0", "cth0"])
"""Limits, the sidewall of a junction without a perimeter, and the heating of one that is held at its temperature."""

_REFERENCE = 300.15
_GRADING_LIMIT = 0.9
_MOST_MATCHING = 25


@dataclass(frozen=True, eq=False)
class Conditions:
    """What all junctions of a design share.

    Attributes
    ----------
    kelvin, nominal : float
        Temperature, and that at which a model's parameters hold which does not say another. [K]
    gmin : float
        Conductance across every junction. [S]
    """

    kelvin: float
    nominal: float
    gmin: float


@dataclass(frozen=True, eq=False)
class Model:
    """A diode's ``.model``.

    Attributes
    ----------
    values : dict of str to float
        By name, defaults among them.
    given : frozenset of str
        Names that the card has.
    notes : tuple of str
        What has no effect at rest.
    """

    values: Mapping[str, float]
    given: frozenset[str]
    notes: tuple[str, ...]
    card: Card


@dataclass(frozen=True)
class Instance:
    """What a diode's own card says: area, multiplier, and temperature [K]."""

    area: float = 1.0
    multiplier: float = 1.0
    kelvin: float = _REFERENCE


def read_model(card: Card, scope: Scope) -> Model:
    """Read a ``.model`` of a diode.

    Raises
    ------
    NetlistError
        If it is no diode's, or a parameter is unknown, stands twice, or is out of its range.
    """
    words = words_of(card)[2:]
    kind = words[0]
    if kind.lower != "d":
        raise kind.refuse(
            f"the model of a diode must be of type D, found {kind.text!r}"
            + ("; write out all its parameters" if kind.lower.startswith("ako") else "")
        )
    values: dict[str, float] = dict(_DEFAULTS)
    given: set[str] = set()
    ignored: list[str] = []
    for name, word in pairs_of(words[1:]):
        key = _OLD_NAMES.get(name.lower, name.lower)
        if key in given:
            raise name.refuse(f"a parameter of a model must be given once, found {name.text!r} twice")
        given.add(key)
        if key in _CHARGE or key in _RATINGS or key in WITHOUT_MEANING:
            ignored.append(name.text)
        elif key in values or key in _WITHOUT_DEFAULT:
            values[key] = scope.read(word).value
        else:
            raise name.refuse(
                f"a diode's parameter must be one of {', '.join(sorted([*_DEFAULTS, *_WITHOUT_DEFAULT]))}, or one "
                f"without effect at rest, found {name.text!r}; take it out"
            )
    model = Model(values, frozenset(given), _notes(card, ignored), card)
    _require_sound(model)
    return model


def _notes(card: Card, ignored: list[str]) -> tuple[str, ...]:
    return (f"{card.place()}: {', '.join(ignored)}, without effect at rest",) if ignored else ()


def _require_sound(model: Model) -> None:
    v = model.values
    positive = ("is", "n", "eg", "ibv", "nr", "vj", "nbv", "ikf", "ikr", "bv")
    for name in positive:
        if name in v and not v[name] > 0:
            raise model.card.refuse(f"{name.upper()} of a diode must be positive, found {v[name]:g}")
    for name in ("rs", "isr", "m"):
        if v[name] < 0:
            raise model.card.refuse(f"{name.upper()} of a diode must not be negative, found {v[name]:g}")
    if v.get("level", 1.0) != 1.0:
        raise model.card.refuse(f"LEVEL of a diode must be 1, found {v['level']:g}")
    if not v["fc"] < 1:
        raise model.card.refuse(f"FC of a diode must be below 1, found {v['fc']:g}")
    if v.get("tnom", 0.0) <= ZERO_CELSIUS * -1:
        raise model.card.refuse(f"TNOM must be above absolute zero, found {v['tnom']:g} °C")


def device_of(model: Model, instance: Instance, conditions: Conditions) -> tuple[Diode, float]:
    """The diode that a card and its model describe, and the resistance that stands before it [Ω]; 0 for none."""
    v, kelvin = model.values, instance.kelvin
    nominal = v["tnom"] + ZERO_CELSIUS if "tnom" in v else conditions.nominal
    size = instance.area * instance.multiplier
    saturation, warm = v["is"] * size, kelvin - nominal
    resistance = v["rs"] * (1 + v["trs"] * warm + v["trs2"] * warm**2) / size
    if resistance < 0:
        raise model.card.refuse(f"the series resistance must not be negative, found {resistance:g} Ω at {kelvin:g} K")
    shockley = ShockleyDiode(
        saturation,
        v["n"],
        kelvin,
        gmin=conditions.gmin,
        nominal_temperature=nominal,
        energy_gap=v["eg"],
        saturation_exponent=v["xti"],
    )
    is_plain = not {"bv", "ikf", "ikr"} & v.keys() and not v["isr"] and not (v["rs"] and (v["trs"] or v["trs2"]))
    if is_plain:
        return shockley, resistance
    vendor = VendorDiode(
        saturation_current=float(shockley.effective_saturation_current),
        ideality=v["n"],
        gmin=conditions.gmin,
        temperature=kelvin,
        breakdown_voltage=_breakdown(model, instance, nominal, float(shockley.effective_saturation_current)),
        breakdown_ideality=v.get("nbv", v["n"]),
        recombination_current=v["isr"] * size * _growth(v, v["nr"], kelvin, nominal),
        recombination_ideality=v["nr"],
        junction_potential=_potential(model, kelvin, nominal),
        grading=min(v["m"] * (1 + v["tm1"] * warm + v["tm2"] * warm**2), _GRADING_LIMIT),
        knee_current=v.get("ikf", 1e30) * size,
        reverse_knee_current=v.get("ikr", 1e30) * size,
    )
    return vendor, resistance


def _growth(v: Mapping[str, float], ideality: float, kelvin: float, nominal: float) -> float:
    """Factor of a saturation current from the nominal temperature to another."""
    ratio = kelvin / nominal
    return math.exp((ratio - 1) * v["eg"] / (ideality * thermal_voltage(kelvin))) * ratio ** (v["xti"] / ideality)


def _breakdown(model: Model, instance: Instance, nominal: float, saturation: float) -> float:
    """Where the exponential of the breakdown begins, so that IBV flows at BV: ngspice's own iteration. [V]"""
    v = model.values
    if "bv" not in v:
        return 1e30
    warm, thermal = instance.kelvin - nominal, thermal_voltage(instance.kelvin)
    wanted = v["bv"] - v["tcv"] * warm if v["tlev"] == 0 else v["bv"] * (1 - v["tcv"] * warm)
    current = instance.multiplier * v["ibv"]
    if current < saturation * wanted / thermal:
        return wanted
    avalanche = v.get("nbv", v["n"]) * thermal
    found = wanted - avalanche * math.log(1 + current / saturation)
    for _ in range(_MOST_MATCHING):
        argument = current / saturation + 1 - found / thermal
        if argument <= 0:
            raise model.card.refuse(f"BV must be larger than the matching of IBV takes, found {v['bv']:g} V")
        found = wanted - avalanche * math.log(argument)
    if found <= 3 * v["n"] * thermal:
        raise model.card.refuse(
            f"the breakdown must begin below −3 N Vt, found it at {-found:.3g} V of BV {v['bv']:g} V; lower IBV"
        )
    return found


def _potential(model: Model, kelvin: float, nominal: float) -> float:
    """Junction potential at a temperature, as ngspice's ``diotemp.c`` has it. [V]"""
    v = model.values
    if v["tlevc"] == 1:
        potential = v["vj"] - v["tpb"] * (kelvin - _REFERENCE)
    else:
        at_reference = (v["vj"] - _built_in(nominal)) / (nominal / _REFERENCE)
        potential = _built_in(kelvin) + kelvin / _REFERENCE * at_reference
    if v["fc"] * potential > 1:
        potential = 1 / v["fc"]
    if potential <= 0:
        raise model.card.refuse(f"VJ must be positive, found {potential:g} V at {kelvin:g} K")
    return potential


def _built_in(kelvin: float) -> float:
    gap = 1.16 - 7.02e-4 * kelvin**2 / (kelvin + 1108)
    exponent = -gap / (2 * BOLTZMANN * kelvin) + 1.1150877 / (2 * BOLTZMANN * _REFERENCE)
    return -2 * thermal_voltage(kelvin) * (1.5 * math.log(kelvin / _REFERENCE) + ELEMENTARY_CHARGE * exponent)


def read_instance(words: list[Word], pairs: list[tuple[Word, Word]], scope: Scope, conditions: Conditions) -> Instance:
    """What stands behind the model's name on a diode's card.

    Raises
    ------
    NetlistError
        If it is something else than an area, m, temp, dtemp, off or ic.
    """
    area, multiplier, kelvin = 1.0, 1.0, conditions.kelvin
    rest = [word for word in words if word.lower != "off"]
    if len(rest) > 1:
        raise rest[1].refuse(f"a diode must have nodes, a model and an area, found {rest[1].text!r} too")
    if rest:
        area = scope.read(rest[0]).value
    seen: set[str] = set()
    for name, word in pairs:
        value = scope.read(word).value if name.lower != "ic" else 0.0
        if (
            name.lower in seen
            or name.lower not in ("area", "m", "temp", "dtemp", "ic")
            or (rest and name.lower == "area")
        ):
            raise name.refuse(f"a diode may have area, m, temp, dtemp and ic, each once, found {name.text!r}")
        seen.add(name.lower)
        if name.lower == "area":
            area = value
        elif name.lower == "m":
            multiplier = value
        elif name.lower == "temp":
            kelvin = value + ZERO_CELSIUS
        elif name.lower == "dtemp":
            kelvin = conditions.kelvin + value
    if {"temp", "dtemp"} <= seen:
        raise pairs[0][0].refuse("a diode must have one of temp and dtemp, found both")
    for what, number in (("area", area), ("m", multiplier), ("temperature in kelvin", kelvin)):
        if not 0 < number < 1e30:
            place = (words or [pair[1] for pair in pairs])[0]
            raise place.refuse(f"{what} of a diode must be positive, found {number:g}")
    return Instance(area, multiplier, kelvin)
