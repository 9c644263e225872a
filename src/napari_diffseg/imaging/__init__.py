"""Images on disk and in memory: volumes, cases, grids, intensities, and files that are whole or absent."""
