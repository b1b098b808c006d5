"""Predictions of runs to tables, figures and a report."""
