r"""One counter-based random generator: an integer hash, and no hidden state but a counter.

    bits(key, i) = mix(key + (i + 1) * 0x9E3779B97F4A7C15)        (SplitMix64, all modulo 2^64)
    key(a, b, c) = join(join(join(0, a), b), c),       join(h, part) = mix(mix(h + kind) + number)

``mix`` is the SplitMix64 finaliser (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators", section 5). A *key* is the hash of whatever the draw
belongs to, in words and numbers, such as (seed, "shuffle", epoch), so a draw depends on
nothing else: not on the batch size, the order of calls, the number of workers or the
backend; and no two purposes share a key, since each has a word of its own. Words and
numbers are of another kind each: "1" is not 1. NumPy and CuPy give the same integers,
uniforms, masks and permutations, bit for bit; normals agree to rounding (log and cos
differ in the last bit).

Two ways to use it::

    rng = Generator(seed)               # a counter moves on with every draw; get_state/set_state
    uniform(key(seed, "mine", i))       # stateless: keyed draws, also for an array of keys at once

Read next: `graph.py`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .backend import Array, DType, asarray, get_default_dtype, on_gpu, xp
from .checks import check_whole
from .locks import thread_lock
from .names import lister as _lister

__dir__ = _lister(__name__)

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_BLOCK = 1 << 15  # words hashed at a time: 256 KB stay in the cache
_NUMBER, _NEGATIVE, _WORD = (i * 0xD1342543DE82EF95 & _MASK for i in (1, 2, 3))  # kinds of parts
_WIDTHS = {2: (16, 11), 4: (32, 24), 8: (64, 53)}  # bytes of a float: bits drawn, bits that count
_REACH = 8.6  # standard deviations: no normal draw lies farther out

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
    """A CuPy kernel: out[i] = mix(part + add + (i % n + 1) golden), `below` for `add`
    where the highest bit of the part is set: in a signed number it says that it is
    negative.
    """
    mix = "".join(f"z = (z ^ (z >> {shift})) * {factor}ULL; " for shift, factor in _MIX)
    return xp.ElementwiseKernel(
        "uint64 part, uint64 add, uint64 below, uint64 n", "uint64 out",
        "unsigned long long z = part + (part >> 63 ? below : add)"
        f" + ((unsigned long long)i % n + 1) * {_GOLDEN}ULL; {mix}"
        "out = z ^ (z >> 31);", "tinynet_hash")


@functools.lru_cache(4096)
def _number_of(word: str) -> int:
    """64 bits of BLAKE2b: the same on every machine, unlike Python's own hash."""
    letters = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(letters, digest_size=8).digest(), "little")


def _check_64_bits(what: str, number: int) -> int:
    if not -(1 << 63) <= number <= _MASK:
        shown = number if number.bit_length() < 128 else f"one of {number.bit_length()} bits"
        raise ValueError(f"{what} must be an integer from -2**63 to 2**64 - 1 (64 bits "
                         f"tell no others apart), got {shown}")
    return number


@functools.cache
def _gpu_mask() -> Any:
    """A CuPy kernel: whether the halves of the hashes, the lower one first, are below a limit."""
    mix = "".join(f"z = (z ^ (z >> {shift})) * {factor}ULL; " for shift, factor in _MIX)
    return xp.ElementwiseKernel(
        "uint64 first, uint64 left_out, uint64 limit", "bool out",
        "unsigned long long k = (unsigned long long)i + left_out;"
        f"unsigned long long z = first + (k / 2 + 1) * {_GOLDEN}ULL; {mix}"
        "z ^= z >> 31; out = (k % 2 ? z >> 32 : z & 0xffffffffULL) < limit;",
        "tinynet_mask")


def check_seed(seed: Any) -> int:
    """`seed`, which must be an integer that 64 bits hold: each is a seed of its own."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise TypeError(f"seed must be an integer, got {seed!r}")
    return _check_64_bits("seed", int(seed))


def key(*parts: Any) -> Any:
    """Hash words and integers (and one array of integers, last) to a 64-bit key.

    Integers are from -2^63 to 2^64 - 1, and each is distinct from all others and from
    all words.

    >>> key(0, "shuffle", 1) == key(0, "shuffle", 1), key(0, "shuffle", 1) == key(0, "mixup", 1)
    (True, False)
    >>> key(7, "flip", np.arange(3)).shape          # one key for each index
    (3,)
    """
    h = 0
    for place, part in enumerate(parts):
        if isinstance(part, str):
            h = _mix_int((_mix_int((h + _WORD) & _MASK) + _number_of(part)) & _MASK)
        elif isinstance(part, int | np.integer) and not isinstance(part, bool):
            number = _check_64_bits(f"key part {place}", int(part))
            kind = _NUMBER if number >= 0 else _NEGATIVE
            h = _mix_int((_mix_int((h + kind) & _MASK) + number) & _MASK)
        elif place == len(parts) - 1 and getattr(part, "dtype", np.dtype(float)).kind in "iu":
            return _keys(h, part)
        else:
            what = getattr(part, "dtype", type(part).__name__)
            raise TypeError(f"key part {place} is {what}: parts are words and "
                            "integers, and only the last may be an array of integers")
    return h


def _keys(h: int, numbers: Array) -> Array:
    """The last part of `key`, for each of an array of numbers."""
    add = _mix_int((h + _NUMBER) & _MASK)
    below = _mix_int((h + _NEGATIVE) & _MASK)
    if on_gpu:  # one launch instead of ten; the kernel adds `golden` once, which is taken off here
        words = asarray(numbers)
        if words.dtype.kind == "u":
            words = words.astype(xp.uint64, copy=False)
            below = add
        else:
            words = words.astype(xp.int64, copy=False).view(xp.uint64)
        return _gpu_hash()(words, np.uint64(add - _GOLDEN & _MASK),
                           np.uint64(below - _GOLDEN & _MASK), 1,
                           xp.empty(words.shape, xp.uint64))
    words = xp.array(numbers, dtype=xp.uint64, ndmin=1)
    if numbers.dtype.kind == "u":
        words += xp.uint64(add)
    else:
        words += xp.where(words >> xp.uint64(63), xp.uint64(below), xp.uint64(add))
    return _mix_array(words).reshape(numbers.shape)


class Share(NamedTuple):
    """Rows offset .. offset + rows - 1 of a batch of `total`; `over` adds up all shares.

    `chunk_of`: they are a chunk of so many rows, whose gradients are added up (None: no chunk).
    """

    offset: int
    rows: int
    total: int
    over: Any
    chunk_of: int | None = None


_thread = threading.local()  # .shares: the shares in force in this thread, the last one counts


@contextlib.contextmanager
def share_of_batch(offset: int, rows: int, total: int, over: Any = None,
                   chunk_of: int | None = None) -> Iterator[None]:
    """Inside, this thread's batches are rows offset .. offset + rows - 1 of `total`.

    Noise layers then cut their masks from those of the whole batch: shares that are
    computed apart, with the same state of the generator, get what one pass over the
    whole batch would give them. ``over.total(array)`` gives the sum of the arrays of
    all shares: a mean with class weights asks for it, and batch norm in training if
    ``over.batch_norm`` is "global". `chunk_of` says that the share is computed in chunks,
    and how many rows they have together.

    >>> from tinynet import functional as F
    >>> whole = F.dropout(xp.ones((4, 3)), key=1)
    >>> with share_of_batch(2, 2, 4):
    ...     bool((F.dropout(xp.ones((2, 3)), key=1) == whole[2:]).all())
    True
    """
    share = Share(check_whole("offset", offset, 0), check_whole("rows", rows, 0),
                  check_whole("total", total), over, chunk_of)
    if offset + rows > total:
        raise ValueError(f"offset + rows must be at most total, got {offset} + {rows} "
                         f"> {total}")
    shares = vars(_thread).setdefault("shares", [])
    shares.append(share)
    try:
        yield
    finally:  # not always the last: two loaders in one loop take turns
        del shares[next(i for i, other in enumerate(shares) if other is share)]


def current_share() -> Share | None:
    """The share of a batch that is in hand in this thread; None: a whole batch."""
    shares = getattr(_thread, "shares", None)
    return shares[-1] if shares else None


def place_in_batch(rows: int) -> tuple[int, int]:
    """(offset, total) of an array of `rows` rows within that of the whole batch.

    An array may have several rows for each example, such as one for each word of a
    sentence.
    """
    share = current_share()
    if share is None or share.rows == rows == 0:
        return 0, rows
    if share.rows == 0 or rows % share.rows:
        raise ValueError(f"noise for {rows} rows was asked for in a share of "
                         f"{share.rows} rows of a batch of {share.total}: the first "
                         "axis must be that of the examples")
    times = rows // share.rows
    return share.offset * times, share.total * times


def _shape(shape: Shape) -> tuple[int, ...]:
    if isinstance(shape, int | np.integer):
        return (int(shape),)
    return tuple(shape)


def bits(key: Any, shape: Shape = (), start: int = 0) -> Array:
    """Random uint64 words; of an array of keys `shape` for each, (*keys, *shape).

    `start` leaves so many words of the stream out. Hashed in cache-sized blocks: the
    cost is 8 passes over 256 KB that stay in the cache.
    """
    shape = _shape(shape)
    n = math.prod(shape)
    before = xp.uint64(start * _GOLDEN & _MASK)
    if isinstance(key, int | np.integer):
        key = int(key)
        if not 0 <= key <= _MASK:
            raise ValueError("key must be from 0 to 2**64 - 1, as random.key makes "
                             f"them, got {key}")
        first = xp.uint64(key + int(before) & _MASK)
        out = xp.empty(n, xp.uint64)
        if on_gpu:
            return _gpu_hash()(0, first, first, max(1, n), out).reshape(shape)
        for i in range(0, n, _BLOCK):
            block = xp.arange(i + 1, min(n, i + _BLOCK) + 1, dtype=xp.uint64)
            block *= xp.uint64(_GOLDEN)
            block += first
            out[i : i + _BLOCK] = _mix_array(block)
        return out.reshape(shape)
    if getattr(key, "dtype", np.dtype(float)).kind not in "iu":
        raise TypeError(f"key must be an integer or an array of them, got "
                        f"{getattr(key, 'dtype', type(key).__name__)}: use random.key")
    key = asarray(key, xp.uint64)
    if on_gpu:
        out = xp.empty((*key.shape, n), xp.uint64)
        hashed = _gpu_hash()(key[..., None], before, before, max(1, n), out)
        return hashed.reshape(key.shape + shape)
    steps = xp.arange(1, n + 1, dtype=xp.uint64) * xp.uint64(_GOLDEN) + before
    return _mix_array(key[..., None] + steps).reshape(key.shape + shape)


def _words(key: Any, shape: Shape, width: int = 32, start: int = 0) -> Array:
    """Random words of 64, 32, 16 or 8 bits: each 64-bit hash gives several.

    `start` leaves so many words of this width out.
    """
    shape = _shape(shape)
    each = 64 // width
    left_out = start % each  # words at the front of the first hash
    n = left_out + math.prod(shape)
    words = bits(key, -(-n // each), start // each).view(f"u{width // 8}")[..., left_out:n]
    return words.reshape(words.shape[:-1] + shape)


def _coins(key: Any, shape: tuple[int, ...], start: int) -> Array:
    """The single bits of the words, as booleans; `start` of them are left out."""
    left_out = start % 64  # bits at the front of the first hash
    n = left_out + math.prod(shape)
    words = bits(key, -(-n // 64), start // 64)
    coins = xp.unpackbits(words.reshape(-1).view(xp.uint8)).view(bool)
    coins = coins.reshape(*words.shape[:-1], -1)[..., left_out:n]
    return coins.reshape(words.shape[:-1] + shape)


def mask(key: Any, p: float, shape: Shape, width: int = 32, *, offset: int = 0,
         total: int | None = None) -> Array:
    """Booleans that are True with probability `p`; compares integers, so no rounding.

    Each uses up `width` random bits (1, 8, 16 or 32), and `p` counts in multiples of
    2^-width: with 8 bits the work is a quarter, and 0.5 or 0.75 are still exact; 0.5
    needs no more than one. With `offset` these are the rows offset, offset + 1 ... of a
    mask that has `total` rows, bit for bit: a part of a batch gets its part of the
    whole batch's mask.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must be a probability between 0 and 1, got {p}")
    if width not in (1, 8, 16, 32):
        raise ValueError(f"width must be 1, 8, 16 or 32 bits, got {width}")
    shape = _shape(shape)
    rows = shape[0] if shape else 1
    if not 0 <= offset <= (offset + rows if total is None else total) - rows:
        raise ValueError(f"offset must be 0 or more, and {rows} rows from there on "
                         f"must lie in the total, got offset={offset}, total={total}")
    if p == 1.0:
        return xp.ones((*getattr(key, "shape", ()), *shape), bool)
    start = offset * math.prod(shape[1:])
    if width == 1:
        if p != 0.5:
            raise ValueError(f"with width=1, p must be 0.5, got {p}")
        return _coins(key, shape, start)
    if on_gpu and width == 32 and isinstance(key, int) and 0 <= key <= _MASK:
        first = xp.uint64(key + (start // 2) * _GOLDEN & _MASK)
        return _gpu_mask()(first, start % 2, int(p * 2.0**width), xp.empty(shape, bool))
    words = _words(key, shape, width, start)
    return words < words.dtype.type(int(p * 2.0**width))


def batch_mask(key: Any, p: float, shape: tuple[int, ...], width: int = 32) -> Array:
    """The mask of a batch, or of this thread's share of one (`share_of_batch`)."""
    if not shape:
        return mask(key, p, shape, width)
    offset, total = place_in_batch(shape[0])
    return mask(key, p, shape, width, offset=offset, total=total)


def _float_dtype(dtype: DType) -> np.dtype[Any]:
    found = np.dtype(get_default_dtype() if dtype is None else dtype)
    if found.kind != "f" or found.itemsize not in _WIDTHS:
        raise TypeError(f"dtype must be float16, float32 or float64, got {found}")
    return found


def _ends(low: float, high: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least and the largest `dtype` in [low, high); low twice if they are equal."""
    limit = float(np.finfo(dtype).max)
    if not -limit <= low <= high <= limit:
        raise ValueError(f"low and high must be numbers with low <= high that {dtype} "
                         f"can hold, got low={low}, high={high}")
    least = dtype.type(low)
    if low == high:
        return float(least), float(least)
    if float(least) < low:
        least = np.nextafter(least, dtype.type(np.inf))
    largest = dtype.type(high)
    if float(largest) >= high:
        largest = np.nextafter(largest, dtype.type(-np.inf))
    if least > largest:
        raise ValueError(f"no {dtype} number lies in [low, high), got {low=}, {high=}")
    return float(least), float(largest)


def _unit(key: Any, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Uniform multiples of 2^-n in [0, 1), n the bits of the dtype: none is rounded."""
    drawn, counting = _WIDTHS[dtype.itemsize]
    words = _words(key, shape, drawn)
    u = (words >> words.dtype.type(drawn - counting)).astype(dtype)
    u *= 2.0**-counting
    return u


def uniform(key: Any, shape: Shape = (), low: float = 0.0, high: float = 1.0,
            dtype: DType = None) -> Array:
    """Uniform floats in [low, high), never `high` unless both are equal.

    11 random bits in float16, 24 in float32, 53 in float64.
    """
    dtype = _float_dtype(dtype)
    if (low, high) == (0.0, 1.0):
        return _unit(key, shape, dtype)
    low, high = float(low), float(high)
    least, largest = _ends(low, high, dtype)
    wide = np.result_type(dtype, np.float32)
    # a span that overflows is gone through in halves
    scale = 1.0 if high - low <= float(np.finfo(wide).max) else 2.0
    u = _unit(key, shape, wide)
    u *= high / scale - low / scale
    u += low / scale
    if scale != 1.0:
        u *= scale
    return xp.clip(u, least, largest).astype(dtype, copy=False)  # where it was rounded beyond


def normal(key: Any, shape: Shape = (), mean: float = 0.0, std: float = 1.0,
           dtype: DType = None) -> Array:
    """Normal floats by Box and Muller: sqrt(-2 log u1) cos(2 pi u2), in float64."""
    dtype = _float_dtype(dtype)
    if not (std >= 0.0 and abs(mean) + _REACH * std <= float(np.finfo(dtype).max)):
        raise ValueError("mean and std must be finite, std 0 or more, and mean +- "
                         f"{_REACH} std within what {dtype} can hold, got {mean=}, "
                         f"{std=}")
    shape = _shape(shape)
    u = _unit(key, (2, *shape), np.dtype(np.float64))
    if not isinstance(key, int | np.integer):
        u = xp.moveaxis(u, key.ndim, 0)
    z = xp.sqrt(-2.0 * xp.log1p(-u[0])) * xp.cos(2.0 * math.pi * u[1])
    return (z * std + mean).astype(dtype)


def integers(key: Any, low: int, high: int, shape: Shape = ()) -> Array:
    """Integers in low .. high - 1 (int64), high - low up to 2^32.

    One is likelier than another by less than (high - low) / 2^32.
    """
    if not all(isinstance(end, int | np.integer) for end in (low, high)):
        raise TypeError(f"low and high must be integers, got {low=}, {high=}")
    low, high = int(low), int(high)
    if not 0 < high - low <= 1 << 32:
        raise ValueError(f"high must exceed low by 1 to 2**32, got {low=}, {high=}")
    if not -(1 << 63) <= low < high <= 1 << 63:
        raise ValueError(f"low .. high - 1 must be int64 numbers, got {low=}, {high=}")
    span = xp.uint64(high - low)
    words = _words(key, shape).astype(xp.uint64)
    return (words * span >> xp.uint64(32)).astype(xp.int64) + low


def permutation(key: int, n: int) -> Array:
    """A random order of 0 .. n - 1: indices sorted by their random word."""
    words = bits(key, check_whole("n", n, 0))
    return xp.argsort(words, kind="stable")


def _log_gamma_draw(parent: int, word: str, shape: float) -> float:
    """Log of one Gamma(shape, 1) draw by Marsaglia and Tsang (2000), on the host.

    The logarithm, since a draw of Gamma(0.001) is often smaller than the smallest
    float.
    """
    own = key(word, parent)
    if shape < 1.0:  # boost: Gamma(a) = Gamma(a + 1) * u^(1/a)
        u = ((key("boost", own) >> 11) + 1) / 2.0**53
        return _log_gamma_draw(own, "boosted", shape + 1.0) + math.log(u) / shape
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for i in range(1 << 20):
        hashes = [_mix_int((own + (3 * i + j) * _GOLDEN) & _MASK) for j in (1, 2, 3)]
        u1, u2, u3 = (((h >> 11) + 1) / 2.0**53 for h in hashes)
        z = math.sqrt(-2.0 * math.log(u1)) * math.cos(2.0 * math.pi * u2)
        v = (1.0 + c * z) ** 3
        if v > 0.0 and math.log(u3) < 0.5 * z * z + d - d * v + d * math.log(v):
            return math.log(d * v)
    raise RuntimeError(f"no Gamma({shape}) draw accepted")  # probability below 1e-1000000


def beta(key: int, a: float, b: float) -> float:
    """One Beta(a, b) draw, G_a / (G_a + G_b): a float, the same on every backend."""
    if not (1e-300 <= a < math.inf and 1e-300 <= b < math.inf):
        raise ValueError("a and b must be positive (1e-300 or more) and finite, got "
                         f"a={a}, b={b}")
    x = _log_gamma_draw(key, "first gamma", a)
    y = _log_gamma_draw(key, "second gamma", b)
    return 0.5 + 0.5 * math.tanh(0.5 * (x - y))  # = e^x / (e^x + e^y), without overflow


_drawing = thread_lock()


class Generator:
    """A stream of draws: each uses the key (seed, counter) and moves it on.

    >>> rng = Generator(0); state = rng.get_state(); a = rng.uniform(3)
    >>> rng.set_state(state); bool((rng.uniform(3) == a).all())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> None:
        """Start again, from an integer of -2^63 to 2^64 - 1: each is another stream."""
        self.seed = check_seed(seed)
        self.counter = 0

    def key(self) -> int:
        """The key of the next draw."""
        with _drawing:  # threads that share a generator draw different numbers
            self.counter += 1
            number = self.counter
        return int(key(self.seed, "draw", number))

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
        if not isinstance(state, Mapping) or not {"seed", "counter"} <= state.keys():
            raise ValueError(f"state must be what get_state() gives, with 'seed' and "
                             f"'counter', got {state!r:.100}")
        seed = check_seed(state["seed"])
        self.counter = check_whole("counter", state["counter"], 0)
        self.seed = seed


default_generator = Generator(0)  # initial weights and dropout masks draw from here


def manual_seed(seed: int) -> None:
    """Seed the default generator: initial weights, dropout, all that has no own."""
    default_generator.manual_seed(seed)


def get_state() -> dict[str, int]:
    """State of the default generator, two integers: with it a run resumes exactly."""
    return default_generator.get_state()


def set_state(state: Mapping[str, int]) -> None:
    """Restore what `get_state` returned."""
    default_generator.set_state(state)
