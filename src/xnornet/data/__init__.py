"""Labelled images to train and evaluate on, by name, folder or address. Never imports torch."""

from .sources import BUNDLED, open_dataset
from .splits import ImageData, Split
from .unreadable import Unreadable

__all__ = ["BUNDLED", "ImageData", "Split", "Unreadable", "open_dataset"]
