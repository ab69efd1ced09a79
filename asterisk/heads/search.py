"""A search for a head's settings, by the development loss, within a time: Optuna (Akiba et al. 2019)."""

import dataclasses
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers import set_seed

from asterisk.core.errors import UserError
from asterisk.heads.arguments import HeadArguments
from asterisk.heads.frozen import train_on_embeddings
from asterisk.heads.losses import make_loss
from asterisk.heads.training import HeadTraining

if TYPE_CHECKING:
    import optuna

# Factors of the mode's learning rate between which is searched.
LEARNING_RATES = (0.1, 10.0)
WEIGHT_DECAYS = (1e-4, 0.5)
DROPOUTS = (0.0, 0.5)
BATCH_SIZES = (16, 32, 64)

# Not that so many fit into the time.
MOST_TRIALS = 10_000


def search_settings(training: HeadTraining) -> dict[str, Any]:
    """Tries settings for `arguments.search` minutes, on the first repeat's texts; the last trial is finished.

    Tried are the learning rate, the weight decay, the head's dropout, and, where the backbone learns, the batch size.

    Returns:
        `minutes`, `trials` (their number), the best `settings`, their `loss`, and that of the settings given,
        `before`, which are the first trial.

    Raises:
        UserError: There are no development texts to compare by.
    """
    import optuna  # takes a moment to import

    own: Any = training.arguments
    if training.data.development is None:
        raise UserError("--search compares settings by development texts; give a --dev_file, or more to train on.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place: dict[str, Any] = {"storage": optuna.storages.InMemoryStorage(), "study_name": "head"}
    study = optuna.create_study(**place, sampler=optuna.samplers.TPESampler(seed=own.seed))
    given = {
        "learning_rate": own.learning_rate,
        "weight_decay": min(max(own.weight_decay, WEIGHT_DECAYS[0]), WEIGHT_DECAYS[1]),
        "dropout": min(training.model.config.classifier_dropout, DROPOUTS[1]),
    }
    study.enqueue_trial(given if own.mode == "frozen" else {**given, "batch_size": own.batch_size})
    limits = {"n_trials": MOST_TRIALS, "timeout": 60 * own.search}
    if own.mode == "frozen":
        study.optimize(_frozen_objective(training), **limits)
    else:
        # The Trainer makes its own study, unless the place has one.
        _search_fine_tuning(training, {**place, "load_if_exists": True, "sampler": study.sampler, **limits})
    return {
        "minutes": own.search,
        "trials": len(study.trials),
        "settings": study.best_params,
        "loss": study.best_value,
        "before": study.trials[0].value,
    }


def _suggested(trial: "optuna.Trial", arguments: HeadArguments) -> dict[str, Any]:
    own: Any = arguments
    low, high = (factor * own.learning_rate for factor in LEARNING_RATES)
    found: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", low, high, log=True),
        "weight_decay": trial.suggest_float("weight_decay", *WEIGHT_DECAYS, log=True),
        "dropout": trial.suggest_float("dropout", *DROPOUTS),
    }
    if own.mode != "frozen":
        found["batch_size"] = trial.suggest_categorical("batch_size", sorted({*BATCH_SIZES, own.batch_size}))
    return found


def _frozen_objective(training: HeadTraining) -> "Callable[[optuna.Trial], float]":
    own = training.arguments
    scale = training.label_scale(training.draws[0])
    assert training.data.development is not None
    train, development = (training.examples(part, scale) for part in (training.draws[0], training.data.development))
    loss = make_loss(training.data.problem_type, train.labels, own.class_weights)
    set_seed(own.seed)
    # Loaded once: loading is what would take the time.
    head: Any = training.load_to_train(scale).classifier
    start = {name: weight.clone() for name, weight in head.state_dict().items()}

    def objective(trial: "optuna.Trial") -> float:
        settings = _suggested(trial, own)
        set_seed(own.seed)
        head.load_state_dict(start)
        head.dropout.p = settings["dropout"]
        tried = dataclasses.replace(own, **settings)
        return min(train_on_embeddings(head, train, development, loss, tried, own.seed)[0])

    return objective


def _search_fine_tuning(training: HeadTraining, options: dict[str, Any]) -> None:
    """Through the Trainer's own search, which makes a model for each trial."""
    from asterisk.heads.adapters import with_adapters
    from asterisk.heads.fine_tuning import CALIBRATED, make_trainer  # the Trainer takes seconds to import
    from asterisk.heads.token_rows import narrow_table, renumbered, tokens_of

    own = training.arguments
    scale = training.label_scale(training.draws[0])
    assert training.data.development is not None
    rows, development = (training.tokenized(part, scale) for part in (training.draws[0], training.data.development))
    loss = make_loss(training.data.problem_type, rows.labels, own.class_weights)
    kept = None if own.mode == "lora" else tokens_of(rows, development)
    if kept is not None:
        rows, development = renumbered(rows, kept), renumbered(development, kept)

    def make_model(trial: "optuna.Trial | None") -> Any:
        model: Any = training.load_to_train(scale)
        if trial is not None:  # the Trainer makes one before any trial, to look at it
            tried = dataclasses.replace(own, **_suggested(trial, own))
            model.classifier.dropout.p = tried.dropout
            training.prepare(model, training.draws[0], scale, tried, own.seed)
        if kept is None:
            model = with_adapters(model, own.lora_rank)
        else:
            narrow_table(model, kept)
        set_seed(own.seed)  # as the Trainer of a single training does when it has been given its model
        return model

    def space(trial: "optuna.Trial") -> dict[str, Any]:
        found = _suggested(trial, own)
        # Under the Trainer's names; dropout is the model's, and read by `make_model`.
        return {
            "learning_rate": found["learning_rate"],
            "weight_decay": found["weight_decay"],
            "per_device_train_batch_size": found["batch_size"],
        }

    folder = training.folder / "search"
    kind = training.data.problem_type
    trainer = make_trainer(
        None, rows, development, loss, kind, own, folder, own.seed, is_trial=True, model_init=make_model
    )

    def lowest(metrics: dict[str, float]) -> float:
        # That of the best pass, whose weights would be kept, not of the last.
        return min(metrics[f"eval_{CALIBRATED}"], trainer.state.best_metric or float("inf"))

    trainer.hyperparameter_search(
        hp_space=space,
        compute_objective=lowest,
        direction="minimize",
        backend="optuna",
        **options,
    )
    shutil.rmtree(folder, ignore_errors=True)
