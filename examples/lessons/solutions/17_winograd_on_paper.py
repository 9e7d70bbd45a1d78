"""17. Winograd, on paper: what the lesson asks for."""


def prepare(g):
    """The four numbers u of three weights g."""
    return [g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]]


def tile(d, u):
    """Two outputs from four numbers d, with four multiplications."""
    m0 = (d[0] - d[2]) * u[0]
    m1 = (d[1] + d[2]) * u[1]
    m2 = (d[2] - d[1]) * u[2]
    m3 = (d[1] - d[3]) * u[3]
    return [m0 + m1 + m2, m1 - m2 - m3]


def row(x, g):
    """All outputs of the weights g along x, whose length is even."""
    u = prepare(g)
    out = []
    for start in range(0, len(x) - 2, 2):
        out.extend(tile(x[start:start + 4], u))
    return out


def tile_2d(d, g):
    """The 2x2 outputs of 3x3 weights g on 4x4 numbers d."""
    m = (G @ g @ G.T) * (BT @ d @ BT.T)
    return AT @ m @ AT.T
