# %% [markdown]
# # My measured device
#
# A table of a curve tracer becomes a device card with uncertainties, and a network learns with that diode as its
# clamps. The table is the shipped one of a 1N4148; name your own in its place: a CSV whose header says its units.

# %%
import io
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from analog_ep.calibration import fit_diode, fit_figure, read_table, write_card
from analog_ep.calibration.diode import COLUMNS
from analog_ep.runs.folder import Run
from analog_ep.spec import default_spec, parse_spec
from analog_ep.support.resources import calibration_folder

TABLE = calibration_folder() / "nxp_1n4148.csv"
EPOCHS = 15  # small: 2

# %% [markdown]
# The fit: saturation current, ideality, series resistance and, from several temperatures, the energy gap.

# %%
fit = fit_diode(read_table(TABLE, COLUMNS))
for name, estimate in fit.estimates.items():
    print(f"{name:22} {estimate.value:.4g} ± {estimate.uncertainty:.1g} {estimate.unit}")
write_card(fit, Path("my_diode.toml"), TABLE)

# %% [markdown]
# In a spec the card stands where a model would.

# %%
tables = default_spec("iris").to_dict()
tables["diode"] = [{"card": str(Path("my_diode.toml").absolute())}]
tables["training"]["epochs"] = EPOCHS
run = Run.create(Path("run"), parse_spec(tables, "tutorial"))
run.train()
print(run.trainer.history[-1].scores)

# %%
figure = Figure(figsize=(11, 4), layout="constrained")
left, right = figure.subplots(1, 2)
left.imshow(imread(io.BytesIO(fit_figure(fit, "1N4148"))))
left.axis("off")
right.plot([record.epoch for record in run.trainer.history], [record.test_accuracy for record in run.trainer.history])
right.set(xlabel="epoch", ylabel="test accuracy")
