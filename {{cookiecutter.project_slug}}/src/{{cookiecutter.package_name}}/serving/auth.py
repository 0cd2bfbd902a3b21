"""API keys: several, hashed, and exchanged without a restart."""

import binascii
import hashlib
import logging
import re
from argparse import ArgumentParser
from base64 import b64decode
from pathlib import Path
from secrets import token_urlsafe
from time import monotonic

from ..errors import SettingsError, UnauthorizedError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the file is looked at; so long a key that was taken out may still be accepted."""
ENTRY = re.compile(r"([A-Za-z0-9._-]{1,100}):([0-9a-f]{64})")
REMEDY = "write a name, a colon and the SHA-256 in hexadecimal digits, as `make key` prints them"


class Keys:
    """The keys that callers may send; without any, everybody may call.

    text: entries `name:sha256`, with white space between them. path: a file of such entries, which
    is read again when it changes. A key is 256 random bits, so its bare hash tells nothing of it.

    Raises:
        SettingsError: an entry cannot be read; the file is missing, or holds no entry.
    """

    def __init__(self, text: str = "", path: Path | None = None) -> None:
        self._fixed = _entries(text, "API_KEYS")
        self._path = path
        self._known = dict(self._fixed)
        self._version: tuple[int, int] | None = None
        self._looked = monotonic()
        if path is not None:
            self._read(path)
        self.required = bool(self._known) or path is not None

    def name(self, authorization: bytes) -> str:
        """Whose key the header holds: `Bearer KEY`, or `Basic` with the key as the password.

        Raises:
            UnauthorizedError: it holds none that is known.
        """
        if self._path is not None and monotonic() - self._looked > LOOK_SECONDS:
            self._looked = monotonic()
            self._read_again(self._path)
        kind, _, given = authorization.strip().partition(b" ")
        if kind.lower() == b"basic":
            try:
                given = b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                given = b""
        elif kind.lower() != b"bearer":
            given = b""
        # A hash is compared, not the key: how long that takes tells nothing of a key.
        name = self._known.get(hashlib.sha256(given.strip()).hexdigest())
        if name is None or not given:
            raise UnauthorizedError(
                "no known API key; send one as Authorization: Bearer KEY, which whoever runs the"
                " service hands out"
            )
        return name

    def _read(self, path: Path) -> None:
        try:
            found = path.stat()
            self._version = (found.st_mtime_ns, found.st_ino)
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise SettingsError(f"API_KEYS_FILE {path} cannot be read: {fault}") from None
        entries = _entries(text, str(path))
        if not entries:
            raise SettingsError(f"API_KEYS_FILE {path} holds no key; {REMEDY}")
        self._known = self._fixed | entries

    def _read_again(self, path: Path) -> None:
        """Take new keys in; while the file is missing or wrong, the ones before stay."""
        try:
            found = path.stat()
            if (found.st_mtime_ns, found.st_ino) != self._version:
                self._read(path)
                logger.info("API keys read again", extra={"keys": sorted(self._known.values())})
        except (OSError, SettingsError) as fault:
            logger.error("API keys stay as they were: %s", fault)


def _entries(text: str, where: str) -> dict[str, str]:
    """The name of each hash."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        for entry in line.partition("#")[0].split():
            match = ENTRY.fullmatch(entry)
            if match is None:
                raise SettingsError(f"{where}: {entry[:40]!r} is no key; {REMEDY}")
            found[match[2]] = match[1]
    return found


def new(name: str) -> None:
    """Print a new key, and the entry by which the service knows it.

    Raises:
        SettingsError: the name cannot stand in an entry.
    """
    key = token_urlsafe(32)
    entry = f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"
    if not ENTRY.fullmatch(entry):
        raise SettingsError(f"{name!r} is no name for a key; use letters, digits and ._- alone")
    print(f"the key, for the caller alone, shown once: {key}")
    print(f"its entry, for API_KEYS or API_KEYS_FILE:  {entry}")


def arguments(parser: ArgumentParser) -> None:
    """Add what the command is told."""
    parser.add_argument("name", help="whose key it is")
