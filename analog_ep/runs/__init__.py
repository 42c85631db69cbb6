"""Runs: from a spec to a trained network in a folder, and back."""
