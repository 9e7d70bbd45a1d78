"""The array primitives, as tables of calculus: see `arithmetic.py` first.

Read next: `ops/arithmetic.py`.
"""

from . import methods as methods

methods.attach()
