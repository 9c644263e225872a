"""Families of checkpoints: how each is told by the names of its tensors, and how it becomes a network of ours."""

from napari_diffseg.checkpoint.families.family import Imported, Sidecar
from napari_diffseg.checkpoint.families.recognition import Recognised, family_of, is_bookkeeping, recognise, refuse

__all__ = ["Imported", "Recognised", "Sidecar", "family_of", "is_bookkeeping", "recognise", "refuse"]
