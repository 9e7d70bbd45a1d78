"""7. Warm-up: what the lesson asks for."""


def warm_up(schedule, steps):
    """A schedule, a function of t: a straight rise to schedule(0), and then `schedule`."""
    def rate(t):
        if t < steps:
            return schedule(0) * (t + 1) / steps
        return schedule(t - steps)

    return rate


def descend(rate, x=5.0, steps=60):
    """x after each step, the start included; until it is no number or beyond a million."""
    path = [x]
    for t in range(steps):
        x = x - rate(t) * gradient(x)
        path.append(x)
        if not abs(x) < 1e6:
            break
    return path
