r"""One counter-based random generator: an integer hash, and no hidden state but a counter.

    bits(key, i) = mix(key + (i + 1) * 0x9E3779B97F4A7C15)        (SplitMix64, all modulo 2^64)

``mix`` is the SplitMix64 finaliser (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
number generators", section 5). A *key* is the hash of whatever the draw belongs to, such as
(seed, stream, epoch, index), so a draw depends on nothing else: not on the batch size, the order
of calls, the number of workers or the backend. NumPy and CuPy give the same integers, uniforms,
masks and permutations, bit for bit; normals agree to rounding (log and cos differ in the last bit).

Two ways to use it::

    rng = Generator(seed)            # a counter moves on with every draw; get_state/set_state
    uniform(key(seed, epoch, i))     # stateless: keyed draws, also for an array of keys at once

Read next: `tensor.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .backend import Array, DType, asarray, get_default_dtype, on_gpu, xp

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_BLOCK = 1 << 15  # words hashed at a time: 256 KB stay in the cache
_STREAM = 0x67656E65  # "gene": keeps a Generator's draws apart from key(seed, epoch)

Shape = int | tuple[int, ...]


def _mix_int(z: int) -> int:
    for shift, factor in _MIX:
        z = ((z ^ (z >> shift)) * factor) & _MASK
    return z ^ (z >> 31)


def _mix_array(z: Array) -> Array:
    """`_mix_int` for a uint64 array, in place."""
    shifted = xp.empty_like(z)
    for shift, factor in _MIX:
        z ^= xp.right_shift(z, xp.uint64(shift), out=shifted)
        z *= xp.uint64(factor)
    z ^= xp.right_shift(z, xp.uint64(31), out=shifted)
    return z


@functools.cache
def _gpu_hash() -> Any:
    """A CuPy kernel, (part, add, n, out): out[i] = mix(part + add + (i % n + 1) golden)."""
    mix = "".join(f"z = (z ^ (z >> {shift})) * {factor}ULL; " for shift, factor in _MIX)
    return xp.ElementwiseKernel(
        "uint64 part, uint64 add, uint64 n", "uint64 out", "unsigned long long z = part + add"
        f" + ((unsigned long long)i % n + 1) * {_GOLDEN}ULL; {mix}"
        "out = z ^ (z >> 31);", "tinynet_hash")


def key(*parts: Any) -> Any:
    """Hash integers (and at most one array of integers, last) to a 64-bit key.

    >>> key(0, 1) == key(0, 1), key(0, 1) == key(1, 0)
    (True, False)
    >>> key(7, np.arange(3)).shape          # one key for each index
    (3,)
    """
    h = 0
    for place, part in enumerate(parts):
        if isinstance(part, int | np.integer):
            h = _mix_int((h + _GOLDEN + int(part)) & _MASK)
        elif place == len(parts) - 1 and getattr(part, "dtype", np.dtype(float)).kind in "iu":
            if on_gpu:  # one launch instead of ten
                words = asarray(part, xp.uint64)
                return _gpu_hash()(words, np.uint64(h), 1, xp.empty_like(words))
            words = xp.array(part, dtype=xp.uint64, ndmin=1)
            words += xp.uint64((h + _GOLDEN) & _MASK)
            return _mix_array(words).reshape(part.shape)
        else:
            what = getattr(part, "dtype", type(part).__name__)
            raise TypeError(f"key part {place} is {what}: parts are integers, and only the last "
                            "may be an array of integers")
    return h


def _shape(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def bits(key: Any, shape: Shape = ()) -> Array:
    """Random uint64 words; for an array of keys, `shape` words for each (keys come first).

    Hashed in cache-sized blocks: the cost is 8 passes over 256 KB that stay in the cache.
    """
    shape = _shape(shape)
    n = math.prod(shape)
    if isinstance(key, int | np.integer):
        key = int(key)
        out = xp.empty(n, xp.uint64)
        if on_gpu:
            return _gpu_hash()(0, np.uint64(key & _MASK), max(1, n), out).reshape(shape)
        for i in range(0, n, _BLOCK):
            block = xp.arange(i + 1, min(n, i + _BLOCK) + 1, dtype=xp.uint64)
            block *= xp.uint64(_GOLDEN)
            block += xp.uint64(key & _MASK)
            out[i : i + _BLOCK] = _mix_array(block)
        return out.reshape(shape)
    if on_gpu:
        out = xp.empty((*key.shape, n), xp.uint64)
        return _gpu_hash()(key[..., None], 0, max(1, n), out).reshape(key.shape + shape)
    steps = xp.arange(1, n + 1, dtype=xp.uint64) * xp.uint64(_GOLDEN)
    return _mix_array(key[..., None] + steps).reshape(key.shape + shape)


def _words(key: Any, shape: Shape, width: int = 32) -> Array:
    """Random words of 32, 16 or 8 bits: each 64-bit hash gives several, which saves work."""
    shape = _shape(shape)
    n = math.prod(shape)
    words = bits(key, -(-n * width // 64)).view(f"u{width // 8}")[..., :n]
    return words.reshape(words.shape[:-1] + shape)


def mask(key: Any, p: float, shape: Shape, width: int = 32) -> Array:
    """Booleans that are True with probability `p`; compares integers, so no rounding.

    Each uses up `width` random bits (1, 8, 16 or 32), and `p` counts in multiples of 2^-width: with
    8 bits the work is a quarter, and 0.5 or 0.75 are still exact; 0.5 needs no more than one.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must be a probability between 0 and 1, got {p}")
    if p == 1.0:
        return xp.ones(_shape(shape) if isinstance(key, int) else key.shape + _shape(shape), bool)
    if width == 1:  # the bits of the words themselves
        if p != 0.5:
            raise ValueError(f"with width=1, p must be 0.5, got {p}")
        shape = _shape(shape)
        words = bits(key, -(-math.prod(shape) // 64))
        coins = xp.unpackbits(words.reshape(-1).view(xp.uint8)).view(bool)
        coins = coins.reshape(*words.shape[:-1], -1)[..., : math.prod(shape)]
        return coins.reshape(words.shape[:-1] + shape)
    words = _words(key, shape, width)
    return words < words.dtype.type(int(p * 2.0**width))


def uniform(key: Any, shape: Shape = (), low: float = 0.0, high: float = 1.0,
            dtype: DType = None) -> Array:
    """Uniform floats in [low, high): 24 random bits in float32, 53 in float64."""
    dtype = np.dtype(get_default_dtype() if dtype is None else dtype)
    if dtype == np.float64:
        u = (bits(key, shape) >> xp.uint64(11)).astype(xp.float64) * 2.0**-53
    else:
        u = ((_words(key, shape) >> xp.uint32(8)).astype(xp.float32) * 2.0**-24).astype(dtype)
    return u if (low, high) == (0.0, 1.0) else u * (high - low) + low


def normal(key: Any, shape: Shape = (), mean: float = 0.0, std: float = 1.0,
           dtype: DType = None) -> Array:
    """Normal floats by Box and Muller: sqrt(-2 log u1) cos(2 pi u2), computed in float64."""
    dtype = np.dtype(get_default_dtype() if dtype is None else dtype)
    shape = _shape(shape)
    u = uniform(key, (2, *shape), dtype=np.float64)
    if not isinstance(key, int):
        u = xp.moveaxis(u, key.ndim, 0)
    z = xp.sqrt(-2.0 * xp.log1p(-u[0])) * xp.cos(2.0 * math.pi * u[1])
    return (z * std + mean).astype(dtype)


def integers(key: Any, low: int, high: int, shape: Shape = ()) -> Array:
    """Integers in low .. high - 1 (int64); high - low up to 2^32, bias below (high - low)/2^32."""
    if not 0 < high - low <= 1 << 32:
        raise ValueError(f"high must exceed low by 1 to 2**32, got low={low}, high={high}")
    span = xp.uint64(high - low)
    words = _words(key, shape).astype(xp.uint64)
    return (words * span >> xp.uint64(32)).astype(xp.int64) + low


def permutation(key: int, n: int) -> Array:
    """A random order of 0 .. n - 1: indices sorted by their random word (ties by index)."""
    words = bits(key, n)
    return xp.argsort(words, kind="stable")


def _log_gamma_draw(key: int, shape: float) -> float:
    """Log of one Gamma(shape, 1) draw by Marsaglia and Tsang (2000); a host loop of keyed draws.

    The logarithm, since a draw of Gamma(0.001) is often smaller than the smallest float.
    """
    if shape < 1.0:  # boost: Gamma(a) = Gamma(a + 1) * u^(1/a)
        u = (_mix_int(key ^ 0x5851F42D4C957F2D) + 1) / 2.0**64
        return _log_gamma_draw(key, shape + 1.0) + math.log(u) / shape
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for step in range(1, 1 << 20):
        u1, u2, u3 = (((_mix_int((key + (3 * step + j) * _GOLDEN) & _MASK) >> 11) + 1) / 2.0**53
                      for j in range(3))
        z = math.sqrt(-2.0 * math.log(u1)) * math.cos(2.0 * math.pi * u2)
        v = (1.0 + c * z) ** 3
        if v > 0.0 and math.log(u3) < 0.5 * z * z + d - d * v + d * math.log(v):
            return math.log(d * v)
    raise RuntimeError(f"no Gamma({shape}) draw accepted")  # probability below 1e-1000000


def beta(key: int, a: float, b: float) -> float:
    """One Beta(a, b) draw, G_a / (G_a + G_b); a Python float, the same on every backend."""
    if a <= 0.0 or b <= 0.0:
        raise ValueError(f"a and b must be positive, got a={a}, b={b}")
    key = _mix_int(key & _MASK)
    x, y = _log_gamma_draw(_mix_int(key), a), _log_gamma_draw(_mix_int(key ^ 1), b)
    return 0.5 + 0.5 * math.tanh(0.5 * (x - y))  # = e^x / (e^x + e^y), without overflow


class Generator:
    """A stream of draws: every call uses the key (seed, counter) and moves the counter on.

    >>> rng = Generator(0); state = rng.get_state(); a = rng.uniform(3)
    >>> rng.set_state(state); bool((rng.uniform(3) == a).all())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> None:
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
            raise TypeError(f"seed must be an integer, got {seed!r}")
        self.seed, self.counter = int(seed), 0

    def key(self) -> int:
        """The key of the next draw."""
        self.counter += 1
        return int(key(self.seed, _STREAM, self.counter))

    def uniform(self, shape: Shape = (), low: float = 0.0, high: float = 1.0,
                dtype: DType = None) -> Array:
        return uniform(self.key(), shape, low, high, dtype)

    def normal(self, shape: Shape = (), mean: float = 0.0, std: float = 1.0,
               dtype: DType = None) -> Array:
        return normal(self.key(), shape, mean, std, dtype)

    def integers(self, low: int, high: int, shape: Shape = ()) -> Array:
        return integers(self.key(), low, high, shape)

    def mask(self, p: float, shape: Shape) -> Array:
        return mask(self.key(), p, shape)

    def permutation(self, n: int) -> Array:
        return permutation(self.key(), n)

    def beta(self, a: float, b: float) -> float:
        return beta(self.key(), a, b)

    def get_state(self) -> dict[str, int]:
        return {"seed": self.seed, "counter": self.counter}

    def set_state(self, state: Mapping[str, int]) -> None:
        self.seed, self.counter = int(state["seed"]), int(state["counter"])


default_generator = Generator(0)  # initial weights and dropout masks draw from here


def manual_seed(seed: int) -> None:
    """Seed the default generator: initial weights, dropout and everything else that has no own."""
    default_generator.manual_seed(seed)


def get_state() -> dict[str, int]:
    """State of the default generator, two integers: save it and a run resumes bit for bit."""
    return default_generator.get_state()


def set_state(state: Mapping[str, int]) -> None:
    """Restore what `get_state` returned."""
    default_generator.set_state(state)
