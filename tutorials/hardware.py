# %% [markdown]
# # Settling, noise and energy of my design
#
# What a trained network does as hardware with 1 pF at each node, by ngspice: how long it takes to settle, how noisy its
# outputs are, where its power goes.

# %%
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from analog_ep.analyses.analyse import analyse
from analog_ep.runs.folder import Run
from analog_ep.spec import load_spec, with_values
from analog_ep.support.resources import specs_folder

EPOCHS = 20  # small: 1

# %% [markdown]
# The recipe at 1.2 V: every node within ± 0.6 V.

# %%
spec = with_values(load_spec(specs_folder() / "iris-1v2.toml"), training={"epochs": EPOCHS})
run = Run.create(Path("run"), spec)
run.train()

# %%
settling = analyse(run.path, "settling")
noise = analyse(run.path, "noise")
power = analyse(run.path, "power")
print(f"settled to 1 % after {settling.output_time('free'):.2e} s")
print("rms noise of the outputs", [f"{volts:.1e} V" for volts in noise.rms])
print(f"{power.free.total:.2e} W, {sum(power.inference.values()):.2e} J an inference")

# %%
figure = Figure(figsize=(12, 3.4), layout="constrained")
first, second, third = figure.subplots(1, 3)
for name, volts in settling.curves["free"].layers.items():
    distance = np.abs(volts - settling.curves["free"].final[name]).max(axis=1)
    first.semilogy(1e6 * settling.curves["free"].times, distance, label=f"layer {name}")
first.set(xlabel="time [µs]", ylabel="distance from equilibrium [V]", ylim=(1e-6, None))
first.legend()
for number, density in enumerate(noise.density):
    second.loglog(noise.frequencies, 1e9 * density, label=f"output {number}")
second.set(xlabel="frequency [Hz]", ylabel="density [nV/√Hz]")
second.legend()
shares = {name: joules for name, joules in power.inference.items() if joules > 0}
third.barh(list(shares), [1e12 * joules for joules in shares.values()])
third.set(xlabel="energy of an inference [pJ]")
