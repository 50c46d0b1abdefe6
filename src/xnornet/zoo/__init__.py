"""Published packed models, found by name: `xnornet.load("NAME")`.

`index.json` says what there is, `NAME.md` is a model's card, and `NAME.safetensors` the model itself where it is
bundled; the others are fetched. Never imports torch.
"""

from .index import Entry, entries, named
from .locate import locate, where

__all__ = ["Entry", "entries", "locate", "named", "where"]
