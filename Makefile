# What people run here, and what continuous integration runs. uv comes along when it is missing.
UV_VERSION := 0.13.9
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)
RUN := $(UV) run --locked --quiet
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test lint lock bench bench-batch bench-peers quality

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(filter .uv/%,$(UV)) ## make a project from the default answers, train it, serve it, ask it
	@$(RUN) python demo.py

test: $(filter .uv/%,$(UV)) ## run the tests; REQUIRE_ALL=1 adds the slow ones and lets none be skipped
	@$(RUN) pytest -n $(JOBS) --maxprocesses 8 $(if $(REQUIRE_ALL),,-m "not slow")

lint: $(filter .uv/%,$(UV)) ## check format, style and types
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy

lock: $(filter .uv/%,$(UV)) ## refresh every lock file, and the names that projects cannot take
	@$(UV) lock --upgrade
	@$(RUN) python lock.py

bench: $(filter .uv/%,$(UV)) ## measure a project's service beside what one would write instead
	@$(RUN) python benchmarks/run.py

bench-peers: $(filter .uv/%,$(UV)) ## measure it beside mlflow, BentoML, LitServe, MLServer and the tutorials' service
	@$(RUN) python benchmarks/peers.py

quality: $(filter .uv/%,$(UV)) ## compare the model that a project starts with to a tuned one
	@$(RUN) python benchmarks/quality.py

bench-batch: $(filter .uv/%,$(UV)) ## measure a project's scoring of files beside pandas
	@$(RUN) python benchmarks/batch.py

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet uv==$(UV_VERSION)
