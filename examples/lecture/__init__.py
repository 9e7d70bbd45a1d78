"""The lecture as pictures: thirty figures by live runs, and the slides' own code.

`figures.py` is the command and the table of all figures; a module for each section draws them:

    descent     1 to 7     gradient descent, noise, momentum, Nesterov's look-ahead
    decay       8 to 14    learning rates, and how they fall
    order       15, 16     the tangent and the parabola
    unseen      17, 18, 30 training and validation, early stopping, snapshots
    masks       19, 20, 24, 26   what dropout, DropConnect and stochastic depth switch off
    pictures    21 to 23, 25, 27, 28   what is done to photographs
    search      29         random search and the grid

`style.py` is what they share: one look, captions, small files. `snippets.py` is the code of the
slides, run.
"""
