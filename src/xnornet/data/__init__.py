"""Labelled images to train and evaluate on, by name, folder or address. Never imports torch."""

from .sources import BUNDLED, open_dataset
from .splits import ImageData, Split
from .subset import Subset
from .unreadable import Unreadable

__all__ = ["BUNDLED", "ImageData", "Split", "Subset", "Unreadable", "open_dataset"]
