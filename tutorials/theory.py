# %% [markdown]
# # The paper's theory in pictures
#
# Equilibrium propagation gives the gradient in the limit of a small nudge (arXiv:1602.05179, theorem 1). How far is a
# finite one away? Implicit differentiation of the equilibrium, which knows nothing of nudges, is the judge.

# %%
import torch
from matplotlib.figure import Figure

import analog_ep as aep

SAMPLES = 20  # small: 4

# %%
network = aep.ResistiveNetwork([4, 8, 2], dtype=torch.float64, seed=1)
generator = torch.Generator().manual_seed(0)
inputs = 2 * torch.randn(SAMPLES, 4, generator=generator, dtype=torch.float64)
targets = torch.eye(2, dtype=torch.float64)[torch.arange(SAMPLES) % 2]
_, exact = aep.ImplicitDifferentiation(network).gradients(inputs, targets)
exact = torch.cat([each.flatten() for each in exact.values()])

# %% [markdown]
# One nudge has an error of order β; two of opposite sign cancel it and leave β² (arXiv:2006.03824).

# %%
nudgings = torch.logspace(-8, -4, 9).tolist()
errors = {}
for variant in ("positive", "centered"):
    errors[variant] = []
    for nudging in nudgings:
        method = aep.EquilibriumPropagation(network, nudging=nudging, variant=variant)
        _, found = method.gradients(inputs, targets)
        found = torch.cat([each.flatten() for each in found.values()])
        errors[variant].append(float((found - exact).norm() / exact.norm()))

# %%
figure = Figure(figsize=(6, 3.6), layout="constrained")
panel = figure.subplots()
for variant, values in errors.items():
    panel.loglog(nudgings, values, "o-", label=variant)
panel.loglog(nudgings, [errors["positive"][-1] * b / nudgings[-1] for b in nudgings], "k:", linewidth=0.8, label="β")
panel.loglog(
    nudgings, [errors["centered"][-1] * (b / nudgings[-1]) ** 2 for b in nudgings], "k--", linewidth=0.8, label="β²"
)
panel.set(xlabel="nudging β [S]", ylabel="error of the gradient", ylim=(1e-13, None))
panel.legend()
