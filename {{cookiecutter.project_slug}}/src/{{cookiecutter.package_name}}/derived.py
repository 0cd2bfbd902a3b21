"""The team's own file: derived features, each a small function that training and serving share.

Its name is the feature's, its parameters name the features of contract.yaml that it reads (where
Python allows no such name, with _ for what it forbids), and its return annotation says whether it
is a number or a category:

    def debt_to_income(debt: Numbers, income: Numbers) -> Numbers:
        '''Debt in months of income.'''
        return debt / income

    DERIVED = (debt_to_income,)

It gets whole columns, which it may not change, and returns one value for each row, which depends
on that row alone: rows are served in whatever company they arrive. An infinite number counts as a
missing one. The serving environment has numpy, not pandas. A model is served with the very file
that it was trained with.
"""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
"""A column of numbers, NaN where missing; true is 1 and false is 0."""
Categories = npt.NDArray[np.object_]
"""A column of text, "" where missing."""

DERIVED = ()
