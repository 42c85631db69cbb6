"""The public function behind each command: what a script calls in its place."""

from __future__ import annotations

FUNCTIONS: dict[str, str] = {
    "amplitudes": "analog_ep.theory.amplitude.holomorphic_study",
    "analyse": "analog_ep.analyses.analyse.analyse",
    "bench graph": "analog_ep.benchmarking.graph.benchmark_graph",
    "bench spice": "analog_ep.benchmarking.spice.benchmark_spice",
    "bench step": "analog_ep.benchmarking.recipe.bench_recipe",
    "bench wires": "analog_ep.benchmarking.wires.benchmark_wires",
    "calibrate amplifier": "analog_ep.calibration.fit_amplifier",
    "calibrate chip": "analog_ep.runs.chip_calibration.calibrate_run",
    "calibrate diode": "analog_ep.calibration.fit_diode",
    "calibrate memristor": "analog_ep.calibration.fit_memristor",
    "calibrate pulses": "analog_ep.calibration.fit_pulses",
    "calibrate solver": "analog_ep.calibration.solver.calibrate_device",
    "check": "analog_ep.runs.trained.cross_checked",
    "demo": "analog_ep.runs.folder.Run",
    "doctor": "analog_ep.checking.doctor.examine",
    "export": "analog_ep.runs.trained.export_deck",
    "pulses": "analog_ep.runs.step_pulses.step_pulses",
    "report": "analog_ep.reporting.report",
    "size": "analog_ep.sizing.size.size",
    "stationary": "analog_ep.theory.stationary.stochastic_study",
    "study": "analog_ep.studies.grid.run_study",
    "theory": "analog_ep.theory.check_theory",
    "train": "analog_ep.runs.folder.Run",
}
"""By command; of a class its constructors `create` and `resume`, and what it then does."""
