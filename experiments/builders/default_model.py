"""Which model `train` takes where none is named: what few clips call for is not what many do."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection

from experiments.builders.data import load_catalog
from experiments.builders.model_settings import BASELINE_WEIGHTS, settings_for_model
from experiments.pretrained.cache import is_fetched
from experiments.settings import Settings, fields

# A judgement: both were compared on 126 clips, and nothing was measured between those and this.
FEW_CLIPS = 1000
PRETRAINED_MODEL = "musicnn_logistic"
_NEUTRAL = {"seed", "cache_embeddings", "class_balance"}  # settings of features and training that fit every model


def choose_model(settings: Settings, given: Collection[str]) -> tuple[Settings, str]:
    """Chooses the model of a run for which none was named.

    Of few training clips that is `PRETRAINED_MODEL`, if its weights have been fetched and nothing was asked for that a
    network from scratch alone has.

    Args:
        settings: of the run; `model` is the default.
        given: names of the settings that the user has chosen.

    Returns:
        The settings with the model, and a sentence that says what was chosen and what else there is; "" where there is nothing
        to say.

    Raises:
        ValueError: the data set cannot be used.
    """
    if settings.multi_label or "TF_CONFIG" in os.environ:
        return settings, ""
    clips = len(load_catalog(settings).split("training"))
    if clips > FEW_CLIPS:
        return settings, ""
    asked = sorted(set(given) & (set(fields("features", "training")) - _NEUTRAL))
    found = f"note: {clips} training clips are few for a network from scratch, --model={settings.model}; "
    if not is_fetched(BASELINE_WEIGHTS):
        return settings, (
            f"{found}one that others have trained on music scores far better (README.md, Few clips): python -m "
            f"experiments.fetch_weights, then --model={PRETRAINED_MODEL}"
        )
    if asked:
        return settings, (
            f"{found}--model={PRETRAINED_MODEL} scores far better (README.md, Few clips), and does without --{', --'.join(asked)}"
        )
    chosen = settings_for_model(dataclasses.replace(settings, model=PRETRAINED_MODEL))
    return chosen, (
        f"note: {clips} training clips are few: taking --model={PRETRAINED_MODEL}, whose weights have been fetched (README.md, "
        f"Few clips); --model={settings.model} trains a network from scratch"
    )
