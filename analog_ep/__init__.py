"""Equilibrium propagation on resistive crossbars: a SPICE netlist and a PyTorch solver of one circuit."""

from importlib import import_module as _import
from importlib.metadata import PackageNotFoundError as _NotInstalled
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analog_ep.checking import CrossCheck, HopfieldCrossCheck, HopfieldTolerances, Tolerances, cross_check
    from analog_ep.circuit import Chip, Circuit, CircuitBuilder, check_circuit
    from analog_ep.designs import Design, from_pyspice, read_netlist, set_pyspice
    from analog_ep.devices import Clamp, Diode, DiodeClamp, HardClamp, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
    from analog_ep.dynamics import (
        DecibelError,
        Langevin,
        NgspicePhasors,
        NgspiceSettling,
        NodalPhasors,
        PhasorError,
        PowerCrossEntropy,
        phasor_equilibrium,
    )
    from analog_ep.equilibrium import (
        Equilibrium,
        EulerRelaxation,
        HopfieldRelaxation,
        Newton,
        Ngspice,
        Oscillation,
        Relaxation,
        Solver,
        solve,
    )
    from analog_ep.errors import AnalogEPError
    from analog_ep.export import (
        TwoPhaseTiming,
        write_adjoint_netlist,
        write_asymmetric_netlist,
        write_netlist,
        write_samples_netlist,
        write_settling_netlist,
        write_transient_netlist,
    )
    from analog_ep.learning import (
        AdjointDynamics,
        AdjointNetwork,
        AsymmetricEquilibriumPropagation,
        ContrastiveDivergence,
        ContrastiveHebbian,
        CoupledLearning,
        EnergyImplicitDifferentiation,
        EquilibriumBlock,
        EquilibriumPropagation,
        FusedStep,
        GradientMethod,
        HarmonicEquilibriumPropagation,
        HolomorphicEquilibriumPropagation,
        ImplicitDifferentiation,
        LockInEquilibriumPropagation,
        NgspiceSmallSignal,
        PeriodicPropagation,
        PhasorPropagation,
        PulsedUpdate,
        RecurrentBackpropagation,
        SmallSignal,
        StochasticEquilibriumPropagation,
        Update,
        implicit_gradients,
    )
    from analog_ep.networks import (
        AveragePooling,
        CircuitNetwork,
        Convolution,
        Dense,
        GateNetwork,
        HopfieldNetwork,
        LeakyIntegrators,
        LocallyConnected,
        Network,
        ResistiveNetwork,
        RLCNetwork,
    )
    from analog_ep.stimulus import Cost, CrossEntropy, Nudge, SquaredError

__all__ = [
    "AdjointDynamics",
    "AdjointNetwork",
    "AnalogEPError",
    "AsymmetricEquilibriumPropagation",
    "AveragePooling",
    "Chip",
    "Circuit",
    "CircuitBuilder",
    "CircuitNetwork",
    "Clamp",
    "ContrastiveDivergence",
    "ContrastiveHebbian",
    "Convolution",
    "Cost",
    "CoupledLearning",
    "CrossCheck",
    "CrossEntropy",
    "DecibelError",
    "Dense",
    "Design",
    "Diode",
    "DiodeClamp",
    "EnergyImplicitDifferentiation",
    "Equilibrium",
    "EquilibriumBlock",
    "EquilibriumPropagation",
    "EulerRelaxation",
    "FusedStep",
    "GateNetwork",
    "GradientMethod",
    "HardClamp",
    "HarmonicEquilibriumPropagation",
    "HolomorphicEquilibriumPropagation",
    "HopfieldCrossCheck",
    "HopfieldNetwork",
    "HopfieldRelaxation",
    "HopfieldTolerances",
    "IdealDiode",
    "ImplicitDifferentiation",
    "Langevin",
    "LeakyIntegrators",
    "LocallyConnected",
    "LockInEquilibriumPropagation",
    "Network",
    "Newton",
    "Ngspice",
    "NgspicePhasors",
    "NgspiceSettling",
    "NgspiceSmallSignal",
    "NodalPhasors",
    "Nudge",
    "Oscillation",
    "PeriodicPropagation",
    "PhasorError",
    "PhasorPropagation",
    "PiecewiseLinearDiode",
    "PowerCrossEntropy",
    "PulsedUpdate",
    "RLCNetwork",
    "RecurrentBackpropagation",
    "Relaxation",
    "ResistiveNetwork",
    "ShockleyDiode",
    "SmallSignal",
    "Solver",
    "SquaredError",
    "StochasticEquilibriumPropagation",
    "Tolerances",
    "TwoPhaseTiming",
    "Update",
    "check_circuit",
    "cross_check",
    "from_pyspice",
    "implicit_gradients",
    "phasor_equilibrium",
    "read_netlist",
    "set_pyspice",
    "solve",
    "write_adjoint_netlist",
    "write_asymmetric_netlist",
    "write_netlist",
    "write_samples_netlist",
    "write_settling_netlist",
    "write_transient_netlist",
]

try:
    __version__ = _version("analog-ep")
except _NotInstalled:  # A copy of the sources that was not installed.
    __version__ = "0"

_ROOMS = (
    "errors",
    "stimulus",
    "devices",
    "circuit",
    "networks",
    "equilibrium",
    "dynamics",
    "learning",
    "checking",
    "export",
    "designs",
)


def __getattr__(name: str) -> Any:
    """A public name, or a module, at its first use.

    PyTorch takes seconds to load; until then the command must be there to answer an interrupt.
    """
    if name in __all__:
        rooms = (_import(f"{__name__}.{room}") for room in _ROOMS)
        value = next(getattr(room, name) for room in rooms if hasattr(room, name))
    else:
        value = _module(name)
    globals()[name] = value
    return value


def _module(name: str) -> object:
    full = f"{__name__}.{name}"
    try:
        return _import(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
