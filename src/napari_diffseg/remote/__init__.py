"""The engine in another process, on this computer or another: one protocol over the pipes of a child process."""
