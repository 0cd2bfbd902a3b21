"""Decision: from probabilities to the label that costs least."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from .yaml_file import Strict


class Decision(Strict):
    """How a label is chosen; it stands in the model's description.

    threshold: of two labels, the second is given from this probability of it on.
    costs: of more, the one of least expected cost is given; shape (true labels, answers).
    """

    threshold: float | None = None
    costs: list[list[float]] | None = None

    def places(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The label's place for each row of probabilities, shape (rows, labels).

        Source: Elkan (2001), The Foundations of Cost-Sensitive Learning, section 2.
        """
        if self.threshold is not None:
            return (probabilities[:, 1] >= self.threshold).astype(np.int64)
        return np.asarray((probabilities @ self._costs).argmin(axis=1), np.int64)

    @cached_property
    def _costs(self) -> npt.NDArray[np.float64]:
        return np.array(self.costs)


def best_threshold(
    probabilities: npt.NDArray[np.float64],
    targets: npt.NDArray[np.int64],
    costs: npt.NDArray[np.float64],
) -> float:
    """The threshold on the second label's probability at which these rows cost least.

    probabilities: shape (rows,). targets: 0 or 1. costs: shape (2, 2), true labels by answers.
    """
    order = np.argsort(probabilities, kind="stable")
    values, true = probabilities[order], targets[order]
    # With the first `count` rows answered by the first label, and the others by the second.
    below = np.append(0.0, np.cumsum(costs[true, 0]))
    above = costs[true, 1].sum() - np.append(0.0, np.cumsum(costs[true, 1]))
    total = below + above
    total[1:-1][values[1:] == values[:-1]] = np.inf  # equal values are on one side
    never = np.nextafter(1.0, 2.0)
    edges = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2, [never]])
    least = np.flatnonzero(np.isclose(total, total.min(), rtol=1e-9))
    return float(edges[least[len(least) // 2]])
