"""12. Fractional max pooling: what the lesson asks for."""

import numpy as np


def cuts(n, parts, u):
    """a_0 = 0 < a_1 < ... < a_parts = n: region i has the pixels from a_i on, before a_(i+1)."""
    alpha = n / parts
    places = np.ceil(alpha * (np.arange(parts + 1) + u)).astype(int)
    return places - places[0]


def pool(x, rows, columns):
    """The largest of each region of x, which is (H, W); rows and columns are cuts."""
    out = np.empty((len(rows) - 1, len(columns) - 1))
    for i, j in np.ndindex(out.shape):
        out[i, j] = x[rows[i]:rows[i + 1], columns[j]:columns[j + 1]].max()
    return out


def overlapping_pool(x, rows, columns):
    """The same, but each region has the first pixel of the next one too; cuts of H-1 and W-1."""
    out = np.empty((len(rows) - 1, len(columns) - 1))
    for i, j in np.ndindex(out.shape):
        out[i, j] = x[rows[i]:rows[i + 1] + 1, columns[j]:columns[j + 1] + 1].max()
    return out


def test_time(x, parts, chances):
    """The mean of the pooled x over pairs (u of the rows, u of the columns)."""
    side = len(x)  # x is square
    pooled = [pool(x, cuts(side, parts, u), cuts(side, parts, v)) for u, v in chances]
    return np.mean(pooled, axis=0)
