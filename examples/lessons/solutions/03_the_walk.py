"""3. The walk: what the lesson asks for."""


def newest_first(end):
    """All nodes that `end` is made of, and itself, each once, the newest first."""
    found = {end}
    open_ends = [end]
    while open_ends:  # a list, not recursion: chains may be longer than Python's stack is deep
        node = open_ends.pop()
        for part, _ in node.parts:
            if part not in found:
                found.add(part)
                open_ends.append(part)
    return sorted(found, key=lambda node: node.number, reverse=True)


def walk(end):
    """The slope of `end` in every node, as a dictionary."""
    gradients = {end: 1.0}
    for node in newest_first(end):
        for part, slope in node.parts:
            gradients[part] = gradients.get(part, 0.0) + gradients[node] * slope
    return gradients
