# %% [markdown]
# # From a spec to a netlist in ngspice
#
# A spec says everything about a training. Here the shipped one of Fisher's iris flowers is trained, one flower is
# exported as a netlist, plain ngspice solves it, and its outputs are laid beside PyTorch's.

# %%
import subprocess
from pathlib import Path

from analog_ep.analyses.voltage_map import voltage_map
from analog_ep.equilibrium import Relaxation, solve
from analog_ep.runs.folder import Run
from analog_ep.runs.trained import export_deck, test_samples, trained_network
from analog_ep.spec import default_spec, with_values

EPOCHS = 20  # small: 2

# %% [markdown]
# The run folder gets the spec, a checkpoint after every epoch, and a learning curve.

# %%
spec = with_values(default_spec("iris"), training={"epochs": EPOCHS})
run = Run.create(Path("run"), spec)
run.train()
print(run.trainer.history[-1].scores)

# %% [markdown]
# The netlist has the free phase of test sample 0. `ngspice -b free.cir` needs no Python.

# %%
export_deck(run.path, 0, "free", Path("free.cir"))
printed = subprocess.run(["ngspice", "-n", "-b", "free.cir"], capture_output=True, text=True, check=True).stdout
lines = printed.splitlines()
heading = next(number for number, line in enumerate(lines) if "v(o0_p)-v(o0_n)" in line)
by_ngspice = [float(word) for word in lines[heading + 2].split()[2:]]
print("ngspice", by_ngspice)

# %% [markdown]
# PyTorch's solution of the same flower.

# %%
spec, network = trained_network(run.path)
inputs, targets = test_samples(spec, network, slice(0, 1), None)
free = solve(network, inputs[0], solver=Relaxation())
print("PyTorch", free.outputs.tolist(), "class", int(targets[0].argmax()))
assert all(abs(a - b) < 1e-6 for a, b in zip(by_ngspice, free.outputs.tolist(), strict=True))

# %% [markdown]
# What every conductance sees: the voltage across it and its current.

# %%
figure = voltage_map(network, inputs[0]).plot()
