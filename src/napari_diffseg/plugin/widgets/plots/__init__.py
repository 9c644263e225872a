"""Widgets that draw: histograms, curves, tiles of members."""
