"""The engine for browsers: a JavaScript library for pages of one's own, and pages that are ready. Never imports torch.

`xnornet.wasm` is compiled of `cpp/` by Emscripten (scripts/build_wasm.py), and so not in every installation: released
wheels have it. `xnornet.js` with its types, `xnornet.d.ts`, stands in front; `page.html` shows what it does.
"""

from .package import write_package
from .page import write_page

__all__ = ["write_package", "write_page"]
