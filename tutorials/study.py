# %% [markdown]
# # A study on all cores
#
# A study trains one spec many times with a few keys changed. It uses every core, goes on where it was interrupted, and
# runs on a Dask cluster where its file names a `scheduler`.

# %%
from pathlib import Path

from matplotlib.figure import Figure

from analog_ep.reporting import report
from analog_ep.spec.study import load_study
from analog_ep.studies.grid import run_study

SEEDS, EPOCHS, JOBS = [0, 1, 2, 3, 4], 20, None  # small: [0, 1], 1, 1

# %%
Path("writes.toml").write_text(f"""
base = "iris"
epochs = {EPOCHS}
seeds = {SEEDS}

[axes.write]
ideal = {{}}
SoftBounds = {{ update.device = "SoftBounds" }}
EcRam = {{ update.device = "EcRam" }}
""")
results = run_study(load_study(Path("writes.toml")), Path("writes"), JOBS)

# %% [markdown]
# Each seed under each device, and the difference from the first variant within the seeds.

# %%
page = report(Path("writes"))
page.save(Path("writes.html"))
for section in page.sections:
    print(section.title, section.figures if section.title == "Paired differences" else "")

# %%
figure = Figure(figsize=(7, 2.8), layout="constrained")
panel = figure.subplots()
for place, summary in enumerate(results.summaries()):
    panel.plot(summary.values, [place] * len(summary.values), "o", alpha=0.5)
    panel.plot(summary.mean, place, "kD")
panel.set_yticks(range(3), [summary.labels["write"] for summary in results.summaries()])
panel.set_xlabel("test accuracy [%]")
