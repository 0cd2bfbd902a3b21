"""Track: a file or folder of data under DVC's control."""

from pathlib import Path

from ..errors import DataError


def track(root: Path, path: Path) -> None:
    """Let DVC keep this version, if the project uses DVC and git does not hold the file.

    Raises:
        DataError: DVC cannot take it.
    """
    if not (root / ".dvc").is_dir():
        return
    from dvc.exceptions import DvcException
    from dvc.output import OutputAlreadyTrackedError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            repo.add(str(path))
    except OutputAlreadyTrackedError:
        return  # git holds it, as the sample
    except DvcException as fault:
        raise DataError(
            f"{path} cannot be put under DVC: {fault}; see `uv run dvc status`"
        ) from fault
