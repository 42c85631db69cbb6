"""The command line: parse, call the library, print. Importing a module here registers its commands."""

from analog_ep.cli import (
    analyses,
    benchmarks,
    calibration,
    hardware,
    pulses,
    reporting,
    sizing,
    stationary,
    studies,
    theory,
    training,
)
from analog_ep.cli.app import app, main

__all__ = [
    "analyses",
    "app",
    "benchmarks",
    "calibration",
    "hardware",
    "main",
    "pulses",
    "reporting",
    "sizing",
    "stationary",
    "studies",
    "theory",
    "training",
]
