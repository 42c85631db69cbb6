"""Kirchhoff's equations of any circuit: how they are reduced, solved and judged."""
