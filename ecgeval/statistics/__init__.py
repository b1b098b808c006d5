"""Intervals, tests and spreads: what a difference between two figures is worth."""
