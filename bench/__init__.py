"""How fast tinynet is, measured beside its peers: ``python -m bench`` prints the table.

`nets.py` says what is computed, `peers/` how each framework computes it, `drive.py` how the
contenders take turns, `report.py` how figures become `results.jsonl`, tables and a picture.
"""

from __future__ import annotations

import os

# OpenBLAS reads these when it is loaded, and would be slowed down: no part of any measurement.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)
