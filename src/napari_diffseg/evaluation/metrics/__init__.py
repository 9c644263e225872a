"""Measures of masks, ensembles and uncertainty: overlap, distances, calibration, error detection."""
