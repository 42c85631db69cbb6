"""The studies of large nudges: complex ones in PyTorch, sinusoidal ones in PyTorch and in ngspice's transients."""

# Branches take scalars and lists where the fields, once set, are arrays.
# A figure is None where a method refused.
# pyright: reportArgumentType=false, reportOptionalOperand=false, reportOperatorIssue=false

import json
from functools import partial

import numpy as np
import pytest
import torch

from analog_ep.circuit import Capacitors, CircuitBuilder, Conductances, VoltageSources
from analog_ep.cli import main
from analog_ep.errors import StimulusError
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.lock_in import lock_in
from analog_ep.theory.amplitude import AmplitudePoint, AmplitudeStudy, harmonic_study, holomorphic_study
from analog_ep.theory.stationary import stochastic_study


def point(study: AmplitudeStudy, method: str, nudging: float):
    (found,) = [p for p in study.points if p.method == method and p.nudging == nudging]
    return found


@pytest.mark.pictures
def test_holomorphic_study():
    study = holomorphic_study((0.2, 0.3))
    assert point(study, "2 points", 0.2).cosine < 0.98
    assert point(study, "8 points", 0.2).cosine >= 0.999
    assert point(study, "8 points", 0.3).distance > 10 * point(study, "8 points", 0.2).distance
    assert json.loads(study.to_json())["points"][0]["method"] == "2 points"
    assert study.table().row_count == 2
    assert study.plot().startswith(b"\x89PNG")


@pytest.mark.pictures
def test_a_method_that_refused_has_no_figures():
    points = (AmplitudePoint("a", 0.1, 1e-3, 0.999), AmplitudePoint("a", 0.2, None, None))
    study = AmplitudeStudy("t", points)
    assert list(study.table().columns[1].cells) == ["1.0e-03, 0.999000", "-"]
    assert study.plot().startswith(b"\x89PNG")
    assert json.loads(study.to_json())["points"][1]["cosine"] is None


@pytest.mark.pictures
def test_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("analog_ep.cli.stationary.holomorphic_study", lambda: holomorphic_study((0.1,)))
    plot = tmp_path / "amplitudes.png"
    with pytest.raises(SystemExit) as done:
        main(["amplitudes", "holomorphic", "--json", "--plot", str(plot)])
    assert done.value.code == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 4
    assert plot.read_bytes().startswith(b"\x89PNG")
    small = partial(stochastic_study, chains=256, steps=50)
    monkeypatch.setattr("analog_ep.cli.stationary.stochastic_study", small)
    with pytest.raises(SystemExit) as done:
        main(["stationary", "contrast", "--networks", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["degrees"] == 8
    assert done.value.code == (0 if found["probability"] >= 0.01 else 1)


@pytest.mark.ngspice
def test_harmonics_in_torch_and_ngspice():
    study = harmonic_study((1e-4, 3e-4))
    for nudging in (1e-4, 3e-4):
        one, spice = (point(study, name, nudging) for name in ("1st harmonic", "1st harmonic, ngspice"))
        assert one.distance > 4e-3
        assert spice.distance == pytest.approx(one.distance, rel=0.01)
        assert point(study, "harmonics to 15, ngspice", nudging).distance < 0.05 * one.distance
    assert point(study, "harmonics to 15, ngspice", 1e-4).distance < 1e-5
    assert point(study, "harmonics to 7", 1e-4).distance < 1e-5


def low_pass() -> tuple[CircuitBuilder, int]:
    builder = CircuitBuilder("low pass")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", x, a, 1e-5, parameter="r", index=0))
    builder.add(Capacitors("c", a, 0, 1e-12))
    return builder, a


@pytest.mark.ngspice
def test_harmonics_of_a_low_pass():
    builder, a = low_pass()
    builder.set_outputs(np.array([a]), np.array([0]))
    # ωτ = 0.2: a nudge that is not slow lags, and the in-phase part of what it does is smaller.
    omega_tau, amplitude, volts = 0.2, 1e-6, 0.5
    frequency = omega_tau / (2 * np.pi * 1e-7)
    found = lock_in(builder.build(), np.array([volts]), np.array([amplitude]), frequency).harmonics(3)["r"][:, 0]
    response = amplitude / 1e-5 / (1 + 1j * omega_tau)
    # Across the conductance stands −Re(z e^{iθ}), whose half square is |z|²/4 + Re(z² e^{2iθ})/4.
    expected = [abs(response) ** 2 / 4, 0, (response**2).real / 4, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_what_a_lock_in_refuses():
    builder, a = low_pass()
    with pytest.raises(StimulusError, match="needs outputs and capacitors, found none in 'low pass'"):
        lock_in(builder.build(), np.ones(1), np.ones(1), 1e4)
    builder.set_outputs(np.array([a]), np.array([0]))
    with pytest.raises(StimulusError, match=r"a positive frequency and 1 amplitudes, found 0 Hz and shape \(1,\)"):
        lock_in(builder.build(), np.ones(1), np.ones(1), 0)
    with pytest.raises(StimulusError, match=r"found 10000\.0 Hz and shape \(2,\)"):
        lock_in(builder.build(), np.ones(1), np.ones(2), 1e4)
    network = ResistiveNetwork([2, 1], dtype=torch.float64)
    with pytest.raises(StimulusError, match="needs outputs and capacitors, found none in 'resistive network 2-1'"):
        lock_in(network.circuit(), np.ones(2), np.ones(1), 1e4)
