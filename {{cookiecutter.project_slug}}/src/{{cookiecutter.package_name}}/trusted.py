"""The types beyond skops' own defaults that a scikit-learn model file may hold.

Each is a compiled structure of numbers that runs nothing when it is built; whatever else a file
names is refused before it is imported.
"""

TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
