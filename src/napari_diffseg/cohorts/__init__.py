"""Many cases with one checkpoint and the same settings: which there are, and the run of each."""
