# %% [markdown]
# # 18. Threads and the cache
#
# NumPy does one operation at a time over the whole array. Of 8 MB, each operation fetches 8 MB from
# memory and writes 8 MB back, and memory is slow. Cut the array into blocks that fit the cache, and
# do *all* operations on a block before the next; and as NumPy lets other threads run meanwhile,
# give each core its own blocks. First the plain twin, which says what is meant:

# %%
import timeit
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from drawing import draw


def plain(x):
    """sqrt(x^2 + 1) - 1, a loss that is round at 0 and straight far out."""
    return np.sqrt(x * x + 1.0) - 1.0

# %% [markdown]
# The blocks: all of n, the last one shorter if it does not come out even. In a block make no new
# arrays: each operation puts its result where the last one stood, `out=`.

# %%
def blocks(n, size):
    """Pairs (start, stop) that cover 0 .. n, each at most `size` long."""
    return ...


def one_block(x, out):
    """plain(x), written into `out` without any other array; x stays as it is."""
    np.multiply(x, x, out=out)
    ...  # then + 1, the root, - 1, all in `out`


def fast(x, size=1 << 14, workers=2):
    """plain(x) of one axis, block by block, by several threads."""
    out = np.empty_like(x)

    def work(block):
        i, j = block
        ...  # from its part of x to its part of `out`

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, blocks(len(x), size)))  # list: so that a thread's error is raised
    return out

# %% [markdown]
# A sum is harder: its last bits depend on the order. Let each block have its own sum, and add those
# up in the order of the *blocks*, which `pool.map` keeps, not of who is ready first.

# %%
def fast_sum(x, size=1 << 14, workers=2):
    """The sum of plain(x), the same bits for any number of workers."""
    with ThreadPoolExecutor(workers) as pool:
        parts = ...
        return ...

# %% [markdown]
# In the library this is `tinynet/kernels/threads.py:pmap` and `tinynet/kernels/sums.py:sum_blocks`.

# %%
def picture(figure):
    def milliseconds(work):
        return 1000 * min(timeit.repeat(work, number=1, repeat=4))

    x = np.linspace(-3, 3, 1 << 20)
    sizes = [1 << p for p in range(11, 21)]
    axes = figure.subplots()
    axes.semilogx(sizes, [milliseconds(partial(fast, x, n)) for n in sizes], "o-", label="fast")
    axes.axhline(milliseconds(partial(plain, x)), color="k", label="plain")
    axes.set(xlabel="numbers in a block", ylabel="milliseconds", ylim=(0, None))
    axes.legend()


if __name__ == "__main__":
    draw("18_threads_and_the_cache", picture)
