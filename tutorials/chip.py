# %% [markdown]
# # A chip with flaws
#
# The same spec on nominal hardware and on one chip: conductances off by 5 %, amplifiers' offsets of 2 mV, a tenth of
# the cells stuck. The chip learns with what it has.

# %%
from pathlib import Path

from matplotlib.figure import Figure

from analog_ep.runs.folder import Run
from analog_ep.spec import default_spec, parse_spec

EPOCHS = 30  # small: 2

FLAWS = {
    "nominal": {},
    "mismatch of 5 %": {"chip": {"conductance_spread": 0.05, "amplifier_offset": 2e-3}},
    "and a tenth of the cells stuck": {"chip": {"conductance_spread": 0.05, "amplifier_offset": 2e-3, "stuck": 0.1}},
}

# %%
histories = {}
for number, (name, flaws) in enumerate(FLAWS.items()):
    tables = default_spec("iris").to_dict()
    tables["training"]["epochs"] = EPOCHS
    run = Run.create(Path(f"run{number}"), parse_spec({**tables, **flaws}, name))
    run.train()
    histories[name] = run.trainer.history
    print(f"{name:32} {run.trainer.history[-1].scores}")

# %% [markdown]
# `analog-ep check run2` compares this very chip, flaws included, with ngspice; `analog-ep analyse run2 monte-carlo
# --chips 200` draws others that hold what it learnt.

# %%
figure = Figure(figsize=(7, 3.2), layout="constrained")
panel = figure.subplots()
for name, history in histories.items():
    style = ":" if name == "nominal" else "-"
    panel.semilogy([record.epoch for record in history], [record.cost for record in history], style, label=name)
panel.set(xlabel="epoch", ylabel="mean training cost")
panel.legend()
