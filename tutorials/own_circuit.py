# %% [markdown]
# # My own circuit learns
#
# Any graph of conductances learns, not only layers. This one is a square lattice with two inputs and one output.

# %%
import torch
from matplotlib.figure import Figure

import analog_ep as aep
from analog_ep.circuit import CircuitBuilder, Conductances, VoltageSources

SIDE, STEPS = 4, 150  # small: 3, 20

# %% [markdown]
# Nodes by name, then groups of elements. Conductances with `parameter` and `index` learn.

# %%
builder = CircuitBuilder("lattice")
nodes = builder.add_nodes([f"n{i}_{j}" for i in range(SIDE) for j in range(SIDE)]).reshape(SIDE, SIDE)
first = torch.cat([torch.tensor(nodes[:, :-1]).flatten(), torch.tensor(nodes[:-1]).flatten()]).numpy()
second = torch.cat([torch.tensor(nodes[:, 1:]).flatten(), torch.tensor(nodes[1:]).flatten()]).numpy()
builder.add(VoltageSources("left", nodes[0, 0], 0, 0.0, 0))
builder.add(VoltageSources("right", nodes[0, -1], 0, 0.0, 1))
builder.add(Conductances("g", first, second, 1e-4, "g", list(range(len(first)))))
builder.add(Conductances("load", nodes[-1, -1], 0, 1e-5, "load", [0]))
builder.set_outputs(nodes[-1, -1], 0)
circuit = builder.build()
print(circuit)

# %% [markdown]
# It shall give 0.3 of the first input and 0.2 of the second.

# %%
network = aep.CircuitNetwork(circuit, bounds=(1e-6, 1e-3))
inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, -1.0]], dtype=torch.float64)
targets = inputs @ torch.tensor([[0.3], [0.2]], dtype=torch.float64)

method = aep.EquilibriumPropagation(network, nudging=1e-6, variant="centered")
optimizer = aep.Update(torch.optim.Adam(network.parameters(), lr=0.01), network)
costs = []
for _ in range(STEPS):
    optimizer.zero_grad()
    costs.append(float(method.backward(inputs, targets)))
    optimizer.step()
print(f"cost {costs[0]:.2e} → {costs[-1]:.2e} V²")

# %% [markdown]
# ngspice agrees node by node, and the circuit goes to a colleague as a deck.

# %%
check = aep.cross_check(network, inputs, targets, nudging=1e-6)
print("largest difference", f"{check.max_voltage_error:.1e} V")
aep.write_netlist(network, inputs[0], path="lattice.cir")

# %%
figure = Figure(figsize=(8, 3.2), layout="constrained")
left, right = figure.subplots(1, 2)
left.semilogy(costs)
left.set(xlabel="step", ylabel="cost [V²]")
outputs = aep.solve(network, inputs, solver=aep.Newton()).outputs
right.plot(targets, outputs.detach(), "o")
right.axline((0, 0), slope=1, color="grey", linewidth=0.8)
right.set(xlabel="target [V]", ylabel="output [V]")
