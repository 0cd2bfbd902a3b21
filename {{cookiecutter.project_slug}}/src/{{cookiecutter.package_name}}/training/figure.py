"""Figure: a drawing as SVG, the same bytes for the same content."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import write_atomically


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Axes]:
    """Axes to draw on, in inches; the figure is written to `path` when the block ends."""
    # The names of clip paths are to be the same; a dollar sign in a column's name is no formula.
    with rc_context({"svg.hashsalt": path.name, "text.parse_math": False}):
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn.subplots()
        write_atomically(path, lambda new: drawn.savefig(new, metadata={"Date": None}))
