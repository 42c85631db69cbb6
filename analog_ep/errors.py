"""Every error that `analog_ep` raises on purpose.

    AnalogEPError
    ├── DeviceParameterError     a device parameter outside its range           (ValueError)
    ├── CircuitError             a circuit that has no, or no unique, equilibrium (ValueError)
    │   ├── NodeNameError        a name that a netlist cannot carry
    │   └── EnergyUnavailableError   reciprocity is broken, so there is no energy
    ├── NetlistError             a designer's netlist that cannot be read        (ValueError)
    ├── NetworkError             a network that cannot be built as described     (ValueError)
    ├── SpecError                a TOML spec that is broken or says something not allowed (ValueError)
    ├── DataError                a data set that is missing, damaged or out of range (ValueError)
    ├── CardError                a device card that is missing, broken or of another kind (ValueError)
    ├── BudgetError              a budget that no design of a technology keeps   (ValueError)
    ├── StimulusError            inputs, targets or nudges of the wrong shape or value (ValueError)
    ├── UnstableNudgeError       a negative elastic nudge beyond the stable range (ValueError)
    ├── ConvergenceError         an equilibrium that was not reached             (RuntimeError)
    ├── CheckpointError          a run folder or checkpoint that cannot be used  (RuntimeError)
    ├── StudyError               a study whose folder or cluster cannot be used  (RuntimeError)
    ├── ParallelError            processes that train together and lost one       (RuntimeError)
    ├── JudgeNotFoundError       the package that judges gradients is not installed (RuntimeError)
    └── NgspiceError             ngspice                                         (RuntimeError)
        ├── NgspiceNotFoundError     is not installed, or too old
        ├── NgspiceTimeoutError      was stopped at its time limit
        ├── NgspiceCrashError        ended by a signal
        └── NgspiceResultError       finished, but its result must not be believed

A message says what must hold, what was found, and what to try, in one line.
"""


class AnalogEPError(Exception):
    """Base of every error raised on purpose; the command line prints it as one line."""


class DeviceParameterError(AnalogEPError, ValueError):
    """A device parameter outside its range."""


class CircuitError(AnalogEPError, ValueError):
    """A circuit that has no equilibrium, or no unique one."""


class NodeNameError(CircuitError):
    """A name that a netlist cannot carry."""


class EnergyUnavailableError(CircuitError):
    """Reciprocity is broken: the circuit has equilibria, but no energy."""


class NetlistError(AnalogEPError, ValueError):
    """A designer's netlist that cannot be read, or says what no circuit here can stand for."""


class NetworkError(AnalogEPError, ValueError):
    """A network that cannot be built as described."""


class SpecError(AnalogEPError, ValueError):
    """A TOML spec that is broken or says something that is not allowed."""


class DataError(AnalogEPError, ValueError):
    """A data set that is missing, damaged or out of range."""


class CardError(AnalogEPError, ValueError):
    """A device card that is missing, broken or of another kind."""


class BudgetError(AnalogEPError, ValueError):
    """A budget that no design of a technology keeps."""


class StimulusError(AnalogEPError, ValueError):
    """Inputs, targets or nudges of the wrong shape or value."""


class UnstableNudgeError(AnalogEPError, ValueError):
    """A negative elastic nudge at which the equilibrium is no longer a minimum."""


class ConvergenceError(AnalogEPError, RuntimeError):
    """An equilibrium that was not reached."""


class CheckpointError(AnalogEPError, RuntimeError):
    """A run folder or checkpoint that cannot be used."""


class StudyError(AnalogEPError, RuntimeError):
    """A study whose folder or cluster cannot be used."""


class ParallelError(AnalogEPError, RuntimeError):
    """Processes that train together have lost one of them."""


class JudgeNotFoundError(AnalogEPError, RuntimeError):
    """The package that judges gradients is not installed."""


class NgspiceError(AnalogEPError, RuntimeError):
    """Ngspice could not be used, or its result must not be believed."""


class NgspiceNotFoundError(NgspiceError):
    """Ngspice is not installed, or is too old."""


class NgspiceTimeoutError(NgspiceError):
    """Ngspice was stopped at its time limit."""


class NgspiceCrashError(NgspiceError):
    """Ngspice was ended by a signal."""


class NgspiceResultError(NgspiceError):
    """Ngspice finished, but its result must not be believed."""
