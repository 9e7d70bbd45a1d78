"""Python runs this at every start where its folder is on PYTHONPATH: child processes of emulated
tests that use CuPy are emulated, too."""

import os

if os.environ.get("TINYNET_BACKEND", "").strip().lower() == "cupy":
    from tests import emulator

    emulator.install(reverse="EMULATOR_REVERSE" in os.environ)
