"""Derivatives of an expression, and the derivative of a derivative (micrograd's example)."""

import argparse

import tinynet as tn
from tinynet.functional import relu

argparse.ArgumentParser(description=__doc__).parse_args()  # there are no options

a = tn.tensor(-4.0, requires_grad=True)
b = tn.tensor(2.0, requires_grad=True)
c = a + b
d = a * b + b**3
c = c + c + 1
c = c + 1 + c - a
d = d + d * 2 + relu(b + a)
d = d + 3 * d + relu(b - a)
e = (c - d) ** 2
g = e / 2 + 10 / e
dg_da, dg_db = tn.grad(g, [a, b], create_graph=True)
print(f"g = {g.item():.4f}   dg/da = {dg_da.item():.4f}   dg/db = {dg_db.item():.4f}")
print(f"d2g/da2 = {tn.grad(dg_da, a).item():.4f}")
