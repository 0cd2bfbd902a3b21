# Better parameters, needed features, age of the model: by folds of the training rows.
GROUPS += tuning
TRIALS ?= 50
PERIOD ?= quarter

.PHONY: tune
tune: repository ## Look for better parameters, up to TRIALS (50) in all, and write them into params.yaml
	@$(RUN) python -m {{ cookiecutter.package_name }} tune --trials '$(TRIALS)'

.PHONY: ablation
ablation: repository ## Show what the model loses without each feature
	@$(RUN) python -m {{ cookiecutter.package_name }} ablation

.PHONY: staleness
staleness: repository ## Show what a model loses as it grows old, by PERIOD (quarter)
	@$(RUN) python -m {{ cookiecutter.package_name }} staleness --period '$(PERIOD)'
