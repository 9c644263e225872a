"""The panel: which section talks to which, and what is remembered between sessions."""
