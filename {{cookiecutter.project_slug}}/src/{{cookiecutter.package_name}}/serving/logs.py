"""The service's own log: one JSON object a line, on standard output."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

OWN = set(vars(logging.makeLogRecord({}))) | {"message", "color_message"}
"""What every record has; the rest came with `extra`."""


class JsonFormatter(logging.Formatter):
    """A record, and what came with it as `extra`, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in OWN}
        if record.exc_info:
            line["fault"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_json() -> None:
    """Let every logger of this process write JSON to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in ("uvicorn", "uvicorn.error"):  # what it tells of its steps is told here, too
        logging.getLogger(name).setLevel(logging.WARNING)
