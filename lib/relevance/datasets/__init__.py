"""Data sets by name or from a folder: images in [0, 1], labels, and where they come from."""

from relevance.datasets.dataset import Dataset
from relevance.datasets.reading import load

__all__ = [
    "Dataset",
    "load",
]
