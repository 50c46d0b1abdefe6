"""Settings of all tests."""

from __future__ import annotations

import os
import sys

from hypothesis import HealthCheck, settings

# Machines are shared: no example fails for being slow. Runs repeat exactly.
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

# `make sanitize` tests another build of the package than the one installed for development.
if site := os.environ.get("XNORNET_TEST_SITE"):
    sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
    sys.path.insert(0, site)
