"""A run on disk: its folder, its record, its files' names, and what is exported from it. No torch."""
