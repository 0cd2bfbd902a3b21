# /// script
# requires-python = ">=3.11"
# dependencies = ["joblib", "litserve", "pandas", "scikit-learn==1.9.1"]
# ///
"""A server of LitServe, with one worker."""

from typing import Any

import litserve
import model


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self._model = model.Model()

    def decode_request(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = request["rows"]
        return rows

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        return self._model.predict(rows)

    def encode_response(self, output: list[float]) -> list[float]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(port=model.PORT, log_level="warning", generate_client_file=False)
