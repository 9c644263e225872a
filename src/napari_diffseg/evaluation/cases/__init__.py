"""Which predictions and ground truths belong together, and the measures of one case."""
