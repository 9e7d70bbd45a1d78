"""18. Threads and the cache: what the lesson asks for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np


def blocks(n, size):
    """Pairs (start, stop) that cover 0 .. n, each at most `size` long."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def one_block(x, out):
    """plain(x), written into `out` without any other array; x stays as it is."""
    np.multiply(x, x, out=out)
    out += 1.0
    np.sqrt(out, out=out)
    out -= 1.0


def fast(x, size=1 << 14, workers=2):
    """plain(x) of one axis, block by block, by several threads."""
    out = np.empty_like(x)

    def work(block):
        i, j = block
        one_block(x[i:j], out[i:j])

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, blocks(len(x), size)))  # list: so that a thread's error is raised
    return out


def fast_sum(x, size=1 << 14, workers=2):
    """The sum of plain(x), the same bits for any number of workers."""
    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda block: plain(x[slice(*block)]).sum(), blocks(len(x), size))
        return sum(parts)
