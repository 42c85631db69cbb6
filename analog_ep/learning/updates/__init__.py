"""How a gradient becomes new conductances: optimisers, pulses on devices, chips."""
