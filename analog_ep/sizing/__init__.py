"""Designs from a technology: rules, a few short trainings, and the constraint that binds."""
