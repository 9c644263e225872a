"""The napari side: reader, writers, sample data, the panel and what it shows. Qt and napari live here only."""
