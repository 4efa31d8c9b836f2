"""A network with one hidden layer tells three kinds of wine apart.

This file draws the inputs of the task. The files on_*.py and on_julia.jl beside it compute the loss from them, one file
a backend. Put your own model in their place; the page docs/own-tasks.md of diffprog has all the rules.
"""

import numpy as np
from sklearn.datasets import load_wine  # installed with diffprog: nothing is downloaded

# All of these may be left out.
TITLE = "A network that tells three kinds of wine apart"
TOLERANCE = 1e-10  # the largest relative error that a float64 gradient may have
FIT = {"steps": 300, "rate": 0.01}  # for `diffprog fit`: steps at most, and Adam's step size


def draw(seed):
    """The parameters and the data: two dicts of NumPy arrays or numbers, the same whenever the seed is the same.

    Every backend gets these arrays under these names, in these shapes. An index means the same on all of them: W[i, j]
    is params["W"][i, j] in Python and params.W[i + 1, j + 1] in Julia.
    """
    # All random numbers are drawn here: the initial parameters, and noise or masks as data. A loss that draws its own
    # cannot be the same on two backends.
    rng = np.random.default_rng(seed)
    X, y = load_wine(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    features, hidden, kinds = X.shape[1], 8, 3
    # What the loss is differentiated by: real numbers, in any number of arrays and shapes. A complex parameter is two
    # real ones.
    params = {
        "W": rng.normal(size=(features, hidden)) / np.sqrt(features),
        "b": np.zeros(hidden),
        "V": rng.normal(size=(hidden, kinds)) / np.sqrt(hidden),
        "c": np.zeros(kinds),
    }
    # What it is not differentiated by: real, complex, integer or boolean. Real and complex data come in the precision
    # of the run (float64 unless --precision says float32); integers are int64.
    data = {
        "X": X,  # (178, 13): what was measured of each wine
        "y": y,  # (178,): its kind, counted from 0, in Julia too
        "decay": 1e-2,  # a number is an array of shape ()
    }
    return params, data
