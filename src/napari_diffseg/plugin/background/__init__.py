"""Work in another thread, and what passes from it to the window."""
