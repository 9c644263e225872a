"""Image formats, read without being believed: what a header claims is checked before memory is taken."""
