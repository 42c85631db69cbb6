"""Devices of the literature, and names for every model."""

from __future__ import annotations

import dataclasses
from typing import Any

from analog_ep.devices.pulses.curved import Exponential, ExpStep, PiecewiseStep, PowStep
from analog_ep.devices.pulses.device import PulseModel
from analog_ep.devices.pulses.steps import ConstantStep, LinearStep, SoftBounds, SoftBoundsReference
from analog_ep.errors import DeviceParameterError

MODELS: dict[str, type[PulseModel]] = {
    model.__name__: model
    for model in (
        ConstantStep,
        LinearStep,
        SoftBounds,
        SoftBoundsReference,
        ExpStep,
        PowStep,
        PiecewiseStep,
        Exponential,
    )
}
"""Models that plain numbers describe, by name."""

PRESETS: dict[str, PulseModel] = {
    # Filamentary ReRAM, a fit to Gong et al., Nat. Commun. 9, 2102, 2018.
    "ReRamES": ExpStep(
        step=0.00135,
        up_down=0.259359,
        w_min=-1.0,
        w_max=1.0,
        a=-0.5,
        b=-0.5,
        gamma_up=5.0,
        gamma_down=5.0,
        amplitude_up=-1.18445,
        amplitude_down=-0.081404,
        step_spread=0.2,
        up_down_spread=0.05,
        w_min_spread=0.3,
        w_max_spread=0.3,
        step_noise=5.0,
        write_noise=75.0,
    ),
    # Lithium-based electrochemical cell, a fit to Tang et al., IEDM 2018; the symmetry point is shifted to 0.
    "EcRam": LinearStep(
        step=0.002,
        w_min=-0.8276,
        w_max=1.1724,
        gamma_up=0.1153,
        gamma_down=0.5085,
        step_spread=0.1,
        up_down_spread=0.01,
        w_min_spread=0.05,
        w_max_spread=0.05,
        gamma_up_spread=0.05,
        gamma_down_spread=0.05,
        step_noise=0.3,
        nominal_bound=True,
    ),
    # Metal-oxide electrochemical cell, data of Kim et al., IEDM 2019.
    "EcRamMO": LinearStep(
        step=2.8214e-4,
        w_min=-0.8286,
        w_max=1.1714,
        gamma_up=0.4152,
        gamma_down=0.7342,
        step_spread=0.1,
        up_down_spread=0.01,
        w_min_spread=0.05,
        w_max_spread=0.05,
        gamma_up_spread=0.05,
        gamma_down_spread=0.05,
        step_noise=2.0,
        nominal_bound=True,
    ),
    # ReRAM array of the "optimized material", Gong, Rasch et al., IEDM 2022; 13.5 % of its devices were corrupt,
    # which `corrupt_probability` adds.
    "ReRamArrayOM": SoftBoundsReference(
        step=0.0949,
        w_min=-1.0,
        w_max=1.0,
        step_spread=0.7829,
        log_normal_spread=True,
        up_down_spread=0.01,
        w_min_spread=0.5695,
        w_max_spread=0.3499,
        step_noise=0.4158,
        write_noise=1.4113,
        noise_follows_step=False,
        corrupt_range=0.01,
        subtract_symmetry_point=True,
        reference_spread=0.05,
    ),
    # ReRAM array of the "baseline HfO2" of the same work; 10 % of its devices were corrupt.
    "HfO2": SoftBoundsReference(
        step=0.4622,
        w_min=-1.0,
        w_max=1.0,
        step_spread=0.7125,
        log_normal_spread=True,
        up_down_spread=0.01,
        w_min_spread=0.5990,
        w_max_spread=0.4295,
        step_noise=0.2174,
        write_noise=0.5841,
        noise_follows_step=False,
        corrupt_range=0.01,
        subtract_symmetry_point=True,
        reference_spread=0.05,
    ),
    # A looser fit to Gong et al. 2018, taken as calibrated to its symmetry point.
    "ReRamSB": SoftBoundsReference(
        step=0.002,
        w_min=-0.75,
        w_max=1.25,
        step_spread=0.3,
        up_down_spread=0.01,
        w_min_spread=0.3 / 0.75,
        w_max_spread=0.3 / 1.25,
        step_noise=3.75,
        write_noise=56.0,
        noise_follows_step=False,
    ),
    # Capacitor cell, a fit to Li et al., VLSI 2018; it leaks, by 1/lifetime an update.
    "Capacitor": LinearStep(
        step=0.005,
        w_min=-1.0,
        w_max=1.0,
        gamma_up=0.05,
        gamma_down=0.05,
        step_spread=0.1,
        up_down_spread=0.06,
        w_min_spread=0.07,
        w_max_spread=0.07,
        gamma_up_spread=0.01,
        gamma_down_spread=0.01,
        step_noise=0.3,
        noise_follows_step=False,
        nominal_bound=True,
        lifetime=1e6,
        lifetime_spread=0.3,
    ),
    # Specification of Gokmen & Vlasov, Front. Neurosci. 10:333, 2016, scaled to ±1, with 10,000 symmetric steps.
    "Idealized": ConstantStep(
        step=0.0002,
        w_min=-1.0,
        w_max=1.0,
        step_spread=0.3,
        w_min_spread=0.3,
        w_max_spread=0.3,
        step_noise=0.3,
    ),
    # The same with its 1,200 steps, and their asymmetry.
    "GokmenVlasov": ConstantStep(
        step=0.0016,
        w_min=-1.0,
        w_max=1.0,
        step_spread=0.3,
        up_down_spread=0.01,
        w_min_spread=0.3,
        w_max_spread=0.3,
        step_noise=0.3,
    ),
    # Phase-change memory, Nandakumar et al., Front. Neurosci. 14:406, 2020: gradual in potentiation alone, so it is
    # used as one of a pair.
    "PCM": ExpStep(
        step=0.01,
        w_min=0.0,
        w_max=2.0,
        a=-1.0,
        b=0.0,
        gamma_up=2.5,
        gamma_down=2.5,
        amplitude_up=-27.235,
        amplitude_down=-2.235,
        step_spread=0.2,
        up_down_spread=0.05,
        w_max_spread=0.1,
        step_noise=0.6,
        noise_offset=0.042,
        noise_slope=0.108,
    ),
}
"""Published devices; parameters of the presets of that name in aihwkit 1.1.0, which 1.2.0 has, too."""


def pulse_model(name: str, **parameters: Any) -> PulseModel:
    """A model or preset by name, with other parameters where they are given.

    Parameters
    ----------
    name : str
        A key of `MODELS` or `PRESETS`.
    **parameters
        Fields of the model.

    Raises
    ------
    DeviceParameterError
        If the name or a parameter is unknown, or a parameter is outside its range.
    """
    if name not in MODELS and name not in PRESETS:
        raise DeviceParameterError(f"device must be one of {', '.join([*MODELS, *PRESETS])}, found {name!r}")
    base = PRESETS[name] if name in PRESETS else MODELS[name]()
    known = [field.name for field in dataclasses.fields(base) if field.init]  # pyright: ignore[reportArgumentType]
    for key in parameters:
        if key not in known:
            raise DeviceParameterError(f"{name} has no parameter {key!r}; it has {', '.join(known)}")
    return dataclasses.replace(base, **parameters)  # pyright: ignore[reportArgumentType]
