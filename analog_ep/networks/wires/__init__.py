"""Crossbars whose lines have resistance."""
