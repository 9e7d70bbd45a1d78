"""Typical wrong answers to the lessons: each a small patch of the solution, and its hint."""

from __future__ import annotations

from typing import NamedTuple


class Slip(NamedTuple):
    """In the solution of `lesson`, `wrong` stands in place of `right`; `hint` is what is said."""

    lesson: str
    right: str
    wrong: str
    hint: str


SLIPS = [
    Slip("01", "(self, other.data), (other, self.data)", "(self, self.data), (other, other.data)",
         "it should be the other's"),
    Slip("01", "self.grad += g", "self.grad = g", "do not overwrite it"),
    Slip("01", "part.pull(g * slope)", "part.pull(self.grad * slope)", "pass on g, not `grad`"),
    Slip("01", "n * self.data ** (n - 1)", "self.data ** (n - 1)", "The n in front is missing"),
    Slip("01", "1 - t * t", "1 - self.data * self.data", "here it is 1 - x^2"),

    Slip("02", "g.sum(axis=in_front)", "g.mean(axis=in_front)", "a sum, not a mean"),
    Slip("02", "axis=axis, keepdims=True", "axis=axis", "keepdims=True"),
    Slip("02", "g @ b.T", "g @ b", "b has to be transposed"),
    Slip("02", "(loss(x + step) - loss(x - step)) / (2 * h)", "(loss(x + step) - loss(x)) / h",
         "To one side only"),
    Slip("02", "/ (2 * h)", "/ h", "The two points are 2h apart"),

    Slip("03", ", reverse=True", "", "That is the oldest first"),
    Slip("03", "gradients.get(part, 0.0) + gradients[node] * slope", "gradients[node] * slope",
         "overwrites the first"),
    Slip("03", "            if part not in found:\n                found.add(part)\n"
         "                open_ends.append(part)", "            found.add(part)",
         "what you find has to be opened"),

    Slip("04", "x - lr * g\n", "x + lr * g\n", "That goes uphill"),
    Slip("04", "v = rho * v + g", "v = rho * v + lr * g", "lr stands outside v"),
    Slip("04", "s = s + g * g", "s = g * g", "add to what was there"),
    Slip("04", "s = s + g * g\n    return x - lr * g / (np.sqrt(s) + 1e-7)",
         "s = s + g * g\n    return x - lr * g / np.sqrt(s + 1e-7)", "sqrt(s) + 1e-7: inside"),
    Slip("04", "decay * s + (1 - decay) * g * g", "decay * s + g * g", "the share 1 - decay"),
    Slip("04", "decay * s + (1 - decay) * g * g", "(1 - decay) * s + decay * g * g",
         "The shares are swapped"),
    Slip("04", "(np.sqrt(unbiased_v) + 1e-7)", "np.sqrt(unbiased_v + 1e-7)",
         "sqrt(v) + 1e-7: inside"),
    Slip("04", "unbiased_m = m / (1 - beta1**t)\n    unbiased_v = v / (1 - beta2**t)",
         "unbiased_m = m\n    unbiased_v = v", "The correction is missing"),
    Slip("04", "unbiased_m = m / (1 - beta1**t)\n    unbiased_v = v / (1 - beta2**t)",
         "unbiased_m = m / (1 - beta1 ** (t - 1))\n    unbiased_v = v / (1 - beta2 ** (t - 1))",
         "no t - 1"),
    Slip("04", "1 - beta2**t", "1 - beta1**t", "a correction of its own"),
    Slip("04", "1 - beta1**t)\n    unbiased_v = v / (1 - beta2**t)",
         "1 - beta1 * t)\n    unbiased_v = v / (1 - beta2 * t)", "A power"),

    Slip("05", "gradient(x + rho * v)", "gradient(x)", "This is plain momentum"),
    Slip("05", "z - rho * old", "z - rho * v", "is just v"),
    Slip("05", "z - rho * old + (1 + rho) * v", "z + rho * old - (1 + rho) * lr * g",
         "rho squared, not rho"),
    Slip("05", "z - rho * v\n", "z + rho * v\n", "z lies ahead of x"),

    Slip("06", "t // every", "t / every", "t // every, a whole number"),
    Slip("06", "t // every", "(t + 1) // every", "One too early"),
    Slip("06", "    t = min(t, T)\n", "", "The wave rises again"),
    Slip("06", "lr / 2 * (1 +", "lr * (1 +", "The half is missing"),
    Slip("06", "max(0.0, 1 - t / T)", "(1 - t / T)", "Below 0 training would climb"),
    Slip("06", "np.sqrt(t + 1)", "np.sqrt(t)", "lr/sqrt(0) is infinite"),

    Slip("07", "(t + 1) / steps", "t / steps", "a step for nothing"),
    Slip("07", "schedule(t - steps)", "schedule(t)", "begins with its own 0"),
    Slip("07", "schedule(0) * (t + 1)", "schedule(t) * (t + 1)",
         "do not let the schedule fall meanwhile"),

    Slip("08", "x - np.linalg", "x + np.linalg", "the highest point's side"),
    Slip("08", "np.linalg.solve(H, g)", "H @ g", "H^-1 g that is wanted"),
    Slip("08", "    q = q * (s @ y) / (y @ y)\n", "", "The scale in the middle is missing"),
    Slip("08", "(s @ y) / (y @ y)", "(y @ y) / (s @ y)", "The scale is upside down"),
    Slip("08", "zip(reversed(moves), reversed(changes))", "zip(moves, changes)", "own share"),

    Slip("09", "(centred**2).mean(axis=0)", "x.var(axis=0, ddof=1)", "by N, not by N - 1"),
    Slip("09", "1 / np.sqrt((centred**2).mean(axis=0) + eps)",
         "1 / (x.std(axis=0) + eps)", "eps stands under the root here"),
    Slip("09", "g - g.mean(axis=0) - x_hat", "g - x_hat", "through the mean is missing"),
    Slip("09", " - x_hat * (g * x_hat).mean(axis=0)", "", "through the variance is missing"),
    Slip("09", "(1 - momentum) * running + momentum * new",
         "momentum * running + (1 - momentum) * new", "momentum is the share of the new value"),
    Slip("09", "(x - running_mean) / np.sqrt(running_var + eps)",
         "(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)", "the statistics of this batch"),

    Slip("10", "keep ** mask.sum() * (1 - keep) ** (len(x) - mask.sum())", "0.5 ** len(x)",
         "those with many zeros are likelier"),
    Slip("10", "(u < keep) / keep", "(u < keep)", "No division by keep"),
    Slip("10", "(u < keep)", "(u > keep)", "a quarter stays"),
    Slip("10", "(u < keep) / keep", "(u > keep) / (1 - keep)", "the probability to drop"),
    Slip("10", "return g * mask", "return g", "The mask has to be used again"),
    Slip("10", "return x\n", "return keep * x\n", "Scaled twice"),

    Slip("11", "masks, W, x)", "np.broadcast_to(masks[:1], masks.shape), W, x)",
         "One mask for the whole batch"),
    Slip("11", 'np.einsum("no,noi,ni->oi", g, masks, x)', "g.T @ x",
         "its gradient is cut as well"),
    Slip("11", "keep * (1 - keep) * x**2", "keep * x**2", "keep (1 - keep), not keep."),
    Slip("11", "x**2 @ (W**2).T", "(x @ W.T) ** 2", "Square each w x before the sum"),
    Slip("11", "mean * area + sd * bell", "np.maximum(mean, 0)", "That is the ReLU of the mean"),

    Slip("12", "places - places[0]", "places", "They have to begin with 0"),
    Slip("12", "np.ceil", "np.floor", "ceil, not floor"),
    Slip("12", "rows[i]:rows[i + 1], columns[j]:columns[j + 1]]",
         "rows[i]:rows[i + 1] + 1, columns[j]:columns[j + 1] + 1]", "a pixel of its neighbour"),
    Slip("12", "rows[i]:rows[i + 1] + 1, columns[j]:columns[j + 1] + 1]",
         "rows[i]:rows[i + 1], columns[j]:columns[j + 1]]", "belongs to both"),
    Slip("12", "cuts(side, parts, v)", "cuts(side, parts, u)", "Rows and columns have a u each"),

    Slip("13", "np.arange(1, L + 1)", "np.arange(L)", "Blocks are counted from 1"),
    Slip("13", "1 - number / L * (1 - last)", "number / L * (1 - last)", "leaving out"),
    Slip("13", "            x = x + block(x)", "            x = block(x)",
         "The shortcut is lost"),
    Slip("13", "        if is_there:\n            x = x + block(x)",
         "        x = x + is_there * block(x)", "not even called"),
    Slip("13", "x + share * block(x)", "x + block(x)", "p of the time only"),
    Slip("13", "x + share * block(x)", "share * (x + block(x))", "scale what the block adds"),

    Slip("14", "picture.copy()", "picture", "Write into a copy"),
    Slip("14", "max(top, 0):top + size, max(left, 0):left + size",
         "top:top + size, left:left + size", "counts from the end"),
    Slip("14", "max(top, 0):top + size, max(left, 0):left + size",
         "row:row + size, column:column + size", "the centre, not the corner"),
    Slip("14", "lam * y + (1 - lam) * y[order]", "y", "The labels are mixed as well"),
    Slip("14", "lam * y + (1 - lam) * y[order]", "(1 - lam) * y + lam * y[order]",
         "here they are swapped"),
    Slip("14", "lam * x + (1 - lam) * x[order]", "(1 - lam) * x + lam * x[order]",
         "lam belongs to the picture itself"),

    Slip("15", "[seed, epoch, index]", "seed + epoch + index", "Added up"),
    Slip("15", "[seed, epoch, index]", "[seed, index]", "The epoch has to be part of the key"),
    Slip("15", "0, 2 * pad + 1", "0, 2 * pad", "never gives high"),
    Slip("15", "picture[:, ::-1]", "picture[::-1]", "stands on its head"),
    Slip("15", "stream(seed, epoch, i)) for i in indices",
         "stream(seed, epoch, k)) for k, i in enumerate(indices)",
         "not its place in the batch"),
    Slip("15", "stream(seed, epoch, i)", "stream(seed, 0, i)",
         "The epoch has to go into the key"),

    Slip("16", "// stride + 1", "// stride", "One more fits"),
    Slip("16", "n + 2 * pad", "n + pad", "Zeros stand on both ends"),
    Slip("16", "x[:, :, top:top + k, left:left + k].reshape(N, -1)",
         "x[:, :, top:top + k, left:left + k].transpose(0, 2, 3, 1).reshape(N, -1)",
         "The channels come first in a row"),
    Slip("16", "top = i * stride\n        left = j * stride", "top = i\n        left = j",
         "every `stride` pixels"),
    Slip("16", "w.reshape(len(w), -1).T", "w[:, :, ::-1, ::-1].reshape(len(w), -1).T",
         "nets do not do that"),
    Slip("16", "return y.transpose(0, 3, 1, 2)", "return y", "belong behind N"),

    Slip("17", "(g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2",
         "g[0] + g[1] + g[2], g[0] - g[1] + g[2]", "The middle two are halved"),
    Slip("17", "m1 - m2 - m3", "m1 - m2 + m3", "The sign of m3"),
    Slip("17", "(d[2] - d[1])", "(d[1] - d[2])", "the difference is turned round"),
    Slip("17", "[m0 + m1 + m2, m1 - m2 - m3]",
         "[m0 + m1 + m2, d[1] * u[0] + d[2] * (u[1] - u[2]) + d[3] * u[3]]",
         "Four products, one with each u"),
    Slip("17", "range(0, len(x) - 2, 2)", "range(0, len(x) - 2, 4)", "Tiles overlap by two"),
    Slip("17", "range(0, len(x) - 2, 2)", "range(0, len(x) - 4, 2)", "The last tile is missing"),

    Slip("18", "range(0, n, size)", "range(0, n - size + 1, size)", "A last block that is shorter"),
    Slip("18", "min(start + size, n)", "start + size", "It ends where the array ends"),
    Slip("18", "    out += 1.0\n    np.sqrt(out, out=out)\n    out -= 1.0",
         "    out = np.sqrt(out + 1.0) - 1.0", "Only x*x has arrived"),
    Slip("18", "np.multiply(x, x, out=out)", "x *= x\n    out[:] = x", "Write into `out` alone"),
    Slip("18", "out[i:j])", "out[:j - i])", "into its own part"),

    Slip("19", "softmax(scores).mean(axis=0)", "softmax(scores.mean(axis=0))",
         "the net that shouts decides"),
    Slip("19", "softmax(scores).mean(axis=0)",
         "np.eye(scores.shape[-1])[scores.argmax(axis=-1)].mean(axis=0)", "Those are votes"),
    Slip("19", "e / e.sum(axis=-1, keepdims=True)", "e / e.sum()", "over the last axis alone"),
    Slip("19", "alone - loss(together(scores), labels)", "loss(together(scores), labels) - alone",
         "The other way round"),
    Slip("19", "t % length", "t", "It never jumps up again"),
    Slip("19", "(t + 1) % length == 0", "t % length == 0", "the first step of each cycle"),

    Slip("20", "math.log(classes)", "math.log10(classes)", "to the base 10"),
    Slip("20", "    if not np.isfinite(losses).all():\n        return \"too high\"\n"
         "    if losses[-1] > 0.9 * losses[0]:\n        return \"too low\"",
         "    if losses[-1] > 10 * losses[0]:\n        return \"too high\"\n"
         "    if losses[-1] > 0.9 * losses[0]:\n        return \"too low\"",
         "nan is neither larger nor smaller"),
    Slip("20", " for lr, losses in runs.items() if np.isfinite(losses).all()",
         " for lr, losses in runs.items()", "min() keeps a nan"),
    Slip("20", "low * (high / low) ** u", "low + (high - low) * u", "draw the logarithm evenly"),
    Slip("20", "train[-1] - val[-1] > gap", "abs(train[-1] - val[-1]) > gap",
         "the sign of the gap"),
    Slip("20", "np.linalg.norm(lr * g) / np.linalg.norm(w)",
         "np.linalg.norm(w) / np.linalg.norm(lr * g)", "Upside down"),
]
