"""Personal: does a column hold personal data, or what a decision may not be made by?"""

import re
from collections.abc import Iterable

from .spelling import most, split_words

NAMES = {
    *("email", "mail", "phone", "telephone", "mobile", "fax", "address", "street", "ssn"),
    *("passport", "iban", "birthday", "birthdate", "birth", "dob", "ip", "login", "username"),
}
NAME = re.compile(
    r"(customer|client|contact|user|patient|person|first|fore|given|middle|last|sur|family|full)?_?"
    r"name"
)
PROTECTED = re.compile(
    r"((customer|client|applicant|user|patient|person)_?)?(age|sex|gender|race|ethnicity|ethnic"
    r"|religion|nationality|citizenship|marital(_?status)?|disability|pregnan(t|cy))"
)
VALUE = re.compile(
    r"[^@\s]+@[^@\s]+\.[a-z]{2,}|[A-Z]{2}\d{2}[A-Z0-9]{11,30}|\+\d[\d ()/-]{6,}"
    r"|\d{3}-\d{2}-\d{4}|(\d{1,3}\.){3}\d{1,3}",
    re.IGNORECASE,
)
"""An e-mail address, an IBAN, a telephone number, a US social security number, an IP address."""


def is_personal_name(name: str) -> bool:
    """Whether a column of this name tells who a row is about."""
    return bool(set(split_words(name)) & NAMES or NAME.fullmatch(name.lower()))


def are_personal(values: Iterable[str]) -> bool:
    """Whether nearly all values are of a form that only personal data have."""
    return most(VALUE.fullmatch(each.strip()) for each in values)


def is_protected(name: str) -> bool:
    """Whether many countries forbid or limit decisions by what the name says."""
    return PROTECTED.fullmatch(name.lower()) is not None
