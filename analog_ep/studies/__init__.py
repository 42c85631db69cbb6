"""Questions of a designer to one circuit: settling, noise, power, corners; and grids of trainings."""
