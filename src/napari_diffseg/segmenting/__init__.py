"""Sampling an ensemble of masks of a case, its statistics, and the folder a run leaves."""
