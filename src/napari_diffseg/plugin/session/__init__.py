"""What is chosen, what runs, and what was run; no widget, so a test drives it without a screen."""
