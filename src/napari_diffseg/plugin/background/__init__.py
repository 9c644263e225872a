"""Jobs in another thread, and what they send to the window."""
