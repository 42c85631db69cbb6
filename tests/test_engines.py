"""Engines: which is asked, what each says of itself, ngspice as WebAssembly against the system's, and hostile ones."""

import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import analog_ep as aep
from analog_ep import cli
from analog_ep.benchmarking.wires import wired_crossbar
from analog_ep.checking import doctor
from analog_ep.circuit import CircuitBuilder, Conductances, VoltageSources
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.dynamics.ngspice_settling import NgspiceSettling
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import CircuitError, NgspiceError, NgspiceNotFoundError, NgspiceResultError
from analog_ep.ngspice import process as spice_process
from analog_ep.ngspice.engines import ENGINES, SystemNgspice, WasmNgspice, chosen_engine, find_engine
from analog_ep.ngspice.includes import with_includes
from analog_ep.ngspice.process import EngineReport, has_osdi, ngspice_version, run_ngspice, run_plots, run_printed
from analog_ep.ngspice.self_test import ALLOWED, self_test
from analog_ep.runs.choosing import choose_spec
from analog_ep.runs.folder import Run
from analog_ep.support import bounded
