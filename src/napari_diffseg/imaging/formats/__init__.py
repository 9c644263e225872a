"""Readers of image formats; what a header claims is checked before memory is taken."""
