"""Questions to one trained network: settling, noise, power, corners, the gradient it would learn by."""
