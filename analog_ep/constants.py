"""Physical constants, as ngspice uses them, and the default temperature.

The values of q and k_B are CODATA 2014, the ones compiled into ngspice (``const.h``): a diode current depends
exponentially on their quotient, and CODATA 2018 would shift it by 1e-5.
"""

ELEMENTARY_CHARGE = 1.6021766208e-19
"""Elementary charge q. [C]"""

BOLTZMANN = 1.38064852e-23
"""Boltzmann constant k_B. [J/K]"""

ZERO_CELSIUS = 273.15
"""0 °C. [K]"""

DEFAULT_TEMPERATURE = 300.15
"""27 °C, SPICE's nominal temperature. [K]"""

SIMULATION_GMIN = 1e-15
"""Conductance that SPICE puts across every junction, and that the diode model here shares. [S]"""


def thermal_voltage(temperature: float = DEFAULT_TEMPERATURE) -> float:
    """Thermal voltage k_B T / q [V] at `temperature` [K]."""
    return BOLTZMANN * temperature / ELEMENTARY_CHARGE
