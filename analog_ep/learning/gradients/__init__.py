"""How a gradient is obtained: equilibrium propagation, its relatives, and what judges them."""
