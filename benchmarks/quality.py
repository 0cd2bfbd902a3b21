"""Is the model that a project starts with a good one? Beside a tuned one, on the held-out rows.

`make quality` makes a project for each task, trains it, and runs this file there, by the project's
Python: there it looks for the best of 60 random settings of scikit-learn's histogram gradient
boosting in five folds of the training rows, and reads the held-out rows once, for both.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TRIED = 60
# Not more than this below the ROC AUC, and this times the RMSE, of the tuned one.
LESS_AREA, TIMES_ERROR = 0.01, 1.05


def tuned(project: Path) -> tuple[str, float, float]:
    """The metric, ours and that of the tuned model, on the held-out rows."""
    import pandas as pd
    import yaml
    from scipy.stats import loguniform, randint
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import roc_auc_score, root_mean_squared_error
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    contract = yaml.safe_load((project / "contract.yaml").read_text(encoding="utf-8"))
    features = [each for each in contract["fields"] if each["role"] == "feature"]
    names = [each["name"] for each in features]
    words = [each["name"] for each in features if each["type"] == "string"]
    target = next(each["name"] for each in contract["fields"] if each["role"] == "target")
    train, test = (
        pd.read_parquet(project / "data" / f"{part}.parquet") for part in ("train", "test")
    )
    classes = contract["task"] == "classification"
    kind: Any = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    coded = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=float("nan"),
        max_categories=254,
    )
    model = make_pipeline(
        make_column_transformer((coded, words), remainder="passthrough"),
        kind(random_state=0, categorical_features=list(range(len(words)))),
    )
    name = type(model[-1]).__name__.lower()
    space = {
        f"{name}__learning_rate": loguniform(0.01, 0.3),
        f"{name}__max_iter": randint(50, 400),
        f"{name}__max_leaf_nodes": randint(4, 64),
        f"{name}__min_samples_leaf": randint(5, 60),
        f"{name}__l2_regularization": loguniform(1e-3, 30),
    }
    scoring = "roc_auc" if classes else "neg_root_mean_squared_error"
    search = RandomizedSearchCV(
        model, space, n_iter=TRIED, scoring=scoring, cv=5, random_state=0, n_jobs=-1
    ).fit(train[names], train[target])
    ours = json.loads((project / "reports" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    if classes:
        positive = list(search.classes_).index(contract_labels(contract, target)[1])
        chances = search.predict_proba(test[names])[:, positive]
        return (
            "roc_auc",
            ours["roc_auc"],
            float(roc_auc_score(test[target] == search.classes_[positive], chances)),
        )
    given = search.predict(test[names])
    return "rmse", ours["rmse"], float(root_mean_squared_error(test[target], given))


def contract_labels(contract: dict[str, Any], target: str) -> list[str]:
    """The labels in the contract's order."""
    (field,) = [each for each in contract["fields"] if each["name"] == target]
    labels: list[str] = field["constraints"]["enum"]
    return labels


def main() -> None:
    """Make, train and compare a project for each task; or compare in the folder that is named."""
    if len(sys.argv) > 1:
        metric, ours, best = tuned(Path(sys.argv[1]))
        good = ours >= best - LESS_AREA if metric == "roc_auc" else ours <= best * TIMES_ERROR
        print(f"| {metric} | {ours:.4f} | {best:.4f} | {'yes' if good else 'NO'} |")
        sys.exit(not good)
    from cookiecutter.main import cookiecutter
    from run import environment

    print(
        "| metric | the project's model | tuned | good enough |\n| --- | ---: | ---: | --- |",
        flush=True,
    )
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        for task in ("classification", "regression"):
            made = cookiecutter(
                str(HERE.parent),
                no_input=True,
                default_config=True,
                extra_context={"task": task, "project_slug": task},
                output_dir=folder,
            )
            subprocess.run(
                ["make", "train"], cwd=made, env=environment(), stdout=sys.stderr, check=True
            )
            command = ["uv", "run", "--locked", "python", str(Path(__file__).resolve()), "."]
            done = subprocess.run(command, cwd=made, env=environment())
            bad = bad or done.returncode != 0
    sys.exit(bad)


if __name__ == "__main__":
    main()
