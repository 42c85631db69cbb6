"""Fast solvers of layered networks: sweeps over the layers, and the state they improve."""
