"""Windows of the panel's own: help and settings."""
