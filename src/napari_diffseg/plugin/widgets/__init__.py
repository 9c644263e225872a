"""Widgets that show and ask; no logic."""
