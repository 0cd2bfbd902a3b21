"""Every refusal, as one tree; a message names the file or key, the value and the next step."""

from collections.abc import Sequence
from typing import Any


class ProjectError(Exception):
    """Base of every refusal; the command line prints its message and exits with 1."""


class ContractError(ProjectError):
    """contract.yaml, or a derived feature beside it, cannot be used."""


class ParamsError(ProjectError):
    """params.yaml cannot be used."""


class DataError(ProjectError):
    """A dataset does not keep the contract."""


class AdoptError(ProjectError):
    """The contract was edited, so it is not replaced unasked."""


class TrainingError(ProjectError):
    """The estimator cannot be built or fitted."""


class GateError(ProjectError):
    """The model is not good enough to leave the pipeline."""


class ExportError(ProjectError):
    """The model cannot be exported, or the artefact does not agree with it."""


class ArtefactError(ProjectError):
    """The model folder is missing, incomplete, altered or made for other versions."""


class VersionError(ProjectError):
    """A version of data or model cannot be made, recorded, sent or fetched."""


class ApiError(ProjectError):
    """A change of the API breaks its callers."""


class SettingsError(ProjectError):
    """An environment variable or the usage profile says what the service cannot use."""


class RequestError(ProjectError):
    """A request is refused; `errors` holds one entry for each field at fault."""

    def __init__(self, detail: str, errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.errors = list(errors)


class MalformedBodyError(RequestError):
    """The body is no JSON text, or names a key twice."""


class BodyTooLargeError(RequestError):
    """The body, or its number of rows, exceeds the limit."""


class UnauthorizedError(RequestError):
    """The request holds no known API key."""


class ForeignFormError(RequestError):
    """A form was sent by a page of another site."""


class SlowBodyError(RequestError):
    """The body takes too long to arrive."""


class GoneError(RequestError):
    """The caller left before its body was read."""


class OptionError(RequestError):
    """The query names an option that there is not, or a value that it cannot have."""


class MediaTypeError(RequestError):
    """The body is not declared as JSON."""


class InvalidRowsError(RequestError):
    """At least one row does not keep the contract."""


class NoFiniteAnswerError(RequestError):
    """The model has no finite answer for a row."""


class DerivedError(RequestError):
    """A derived feature cannot be computed for the rows."""


class PredictionLogError(RequestError):
    """The prediction could not be logged, so it is not answered."""
