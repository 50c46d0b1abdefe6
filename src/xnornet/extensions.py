"""Modules of the user's own that enter methods, quantizers, architectures or recipes in our tables."""

from __future__ import annotations

import importlib
import os
import sys

from .errors import UsageError

__all__ = ["ENVIRONMENT", "import_extensions"]

ENVIRONMENT = "XNORNET_IMPORT"  # names of modules, separated by commas; processes that we start read it too


def import_extensions() -> None:
    """Import what `XNORNET_IMPORT` names, from the working folder first, as `python -m` does.

    The folder stays on the path, at its end, for what these modules import later, in a function for instance.

    Raises:
        UsageError: there is no such module, or it fails.
    """
    names = [name.strip() for name in os.environ.get(ENVIRONMENT, "").split(",") if name.strip()]
    if not names:
        return
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        for name in names:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise
                raise UsageError(
                    f"--import {name}: there is no module of this name here or among the installed"
                ) from error
    except (UsageError, KeyboardInterrupt):
        raise
    except Exception as error:  # of the user's own
        if os.environ.get("XNORNET_DEBUG"):
            raise
        said = " ".join(str(error).split())
        raise UsageError(f"--import {name}: {type(error).__name__}: {said}; XNORNET_DEBUG=1 shows where") from error
    finally:
        if here in sys.path:  # the first, which a module may have put its own entry in front of
            sys.path.remove(here)
        if here not in sys.path:
            sys.path.append(here)
