"""The array primitives, as tables of calculus: see `arithmetic.py` first."""

from . import methods as methods

methods.attach()
