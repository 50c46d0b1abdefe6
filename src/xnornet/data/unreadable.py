"""What happens to images that cannot be read: named and left out, too many refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ..errors import DataError

__all__ = ["Unreadable"]

log = logging.getLogger("xnornet")

NAMED = 5  # in full; the rest are counted
TOLERATED = 100  # one in so many, and one in any case


class Unreadable:
    """The images of one split that could not be read.

    Args:
        images: in the split.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self._found: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, index: int, reason: str) -> None:
        """Image `index` cannot be read; the reason names it. Warns of the first few.

        Raises:
            DataError: these are too many.
        """
        if index in self._found:
            return
        self._found[index] = reason
        if len(self) <= NAMED:
            log.warning("%s: left out%s", reason, "; there may be more" if len(self) == NAMED else "")
        self._check()

    @property
    def found(self) -> dict[int, str]:
        """The reason of each."""
        return dict(self._found)

    def merge(self, found: Mapping[int, str]) -> None:
        """Add what another process found, and warned of. Raises DataError as `add`."""
        self._found = {**found, **self._found}
        self._check()

    def _check(self) -> None:
        if len(self) > max(1, self.images // TOLERATED):
            raise DataError(
                f"{len(self)} images of the first ones read cannot be, more than 1 in {TOLERATED} of {self.images:,} "
                f"({'; '.join(list(self._found.values())[:2])}); repair the data, or take them out"
            )

    @property
    def reasons(self) -> list[str]:
        """A line for each, in the order of the split."""
        return [self._found[index] for index in sorted(self._found)]

    def summary(self) -> str:
        """One line, or nothing where all could be read."""
        if not self._found:
            return ""
        shown = "; ".join(self.reasons[:NAMED])
        images, verb = ("1 image", "was") if len(self) == 1 else (f"{len(self):,} images", "were")
        return f"{images} of {self.images:,} could not be read and {verb} left out: {shown}" + (
            "; ..." if len(self) > NAMED else ""
        )
