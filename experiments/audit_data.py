"""Audits a data set: likely wrong labels, copies of one recording, and clips whose sound is at fault.

    python -m experiments.audit_data --dataset=folders --data_dir=/data/music --output_dir=audit
    python -m experiments.audit_data --dataset=fma --data_dir=/data/fma --checks=copies,sound --output_dir=audit
    python -m experiments.train --dataset=folders --data_dir=/data/music --exclude_csv=exclude.csv --relabel_csv=relabel.csv

Writes audit.csv (clip, finding, score, partner, ...), audit.json (counts, estimated noise of each label, labels that
overlap, seconds), label_ranking.csv (every clip, the likeliest wrong label first) and audit.html, in which you listen to
each suspect beside its partner, or beside clips that are typical of its labels, and choose: the page saves exclude.csv
and relabel.csv for training. Of a pair, `clip` is the one to leave out: that in training, where the other is not.

Sound and copies take about 0.1 s of CPU a clip of 30 s. What a clip gave stays in --output_dir, so an interrupted audit
goes on, and a later one decodes new clips alone. Labels, which are judged anew when clips or labels change, take as many trainings as --folds, each on the other clips;
--label_probabilities takes the predictions that you have instead. What is found are suspects: listen before you act.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from experiments import console, settings_flags
from experiments.comparison.fold_number import ARTIST, parse_folds
from experiments.flag_types import define_number, define_path
from experiments.pretrained.cache import is_fetched
from experiments.settings import Settings, require_one_label
from pipeline.storage.folder_lock import locked_folder

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.catalogs.catalog import Catalog

settings_flags.define_flags("data")
_OUTPUT_DIR = define_path("output_dir", None, "Where to write.", required=True)
_CHECKS = flags.DEFINE_list("checks", ["labels", "copies", "sound"], "What to look at, with commas between.")
_MODEL = flags.DEFINE_string(
    "model",
    "",
    "Network or baseline whose opinion of the labels counts, by name. Default: musicnn_logistic, if fetch_weights has fetched "
    "its weights, which finds twice as many wrong labels; otherwise mfcc_logistic.",
)
_FOLDS = flags.DEFINE_string(
    "folds",
    "6",
    "Parts that the clips are divided into, each predicted by a model of the others; artist: each artist in turn.",
)
_FOLDS_BY = flags.DEFINE_enum(
    "folds_by",
    "clip",
    ["clip", "artist"],
    "clip: finds most of the labels that are wrong for single clips, as the artist's other clips speak up; artist: also finds an "
    "artist whose clips are all wrong, and fewer of the others.",
)
_NUM_SEEDS = define_number(
    "num_seeds", 1, "Networks of each fold, with seeds from 0 on, whose opinions are averaged.", minimum=1, limit=100
)
_LABEL_PROBABILITIES = define_path(
    "label_probabilities",
    None,
    "Take out-of-fold predictions from this CSV (path, probability_LABEL for each label) instead of training.",
)


def main(argv: list[str]) -> None:
    del argv
    from experiments.audit.audit import check_names, format_audit, run_audit
    from experiments.builders.data import load_catalog
    from experiments.reporting.audit_page import write_audit_page

    settings = settings_flags.settings_from_flags(flags.FLAGS)
    checks = check_names([name.strip() for name in _CHECKS.value])
    if "labels" in checks:
        require_one_label(settings, "an audit of the labels")
        parse_folds(_FOLDS.value)  # before anything is loaded
    output_dir = Path(_OUTPUT_DIR.value)
    catalog = load_catalog(settings, needs_splits=False)
    for note in catalog.notes:
        print(f"note: {note}")
    output_dir.mkdir(parents=True, exist_ok=True)
    with locked_folder(output_dir, "audit", "let it end, or choose another --output_dir"):
        predictions = _predict_labels(settings, catalog, output_dir / "labels") if "labels" in checks else None
        audit = run_audit(catalog, output_dir, checks, predictions)
        page = write_audit_page(audit, output_dir)
    print(format_audit(audit))
    print(f"written to {output_dir}; listen and choose in {page}")


def _predict_labels(settings: Settings, catalog: Catalog, output_dir: Path) -> pd.DataFrame:
    """Returns what models say of clips that they were not trained on, as a table that `audit_labels` takes."""
    if _LABEL_PROBABILITIES.value:
        from experiments.audit.labels import read_probabilities

        return read_probabilities(Path(_LABEL_PROBABILITIES.value))
    from experiments.builders.default_model import PRETRAINED_MODEL
    from experiments.builders.model_settings import BASELINE_WEIGHTS
    from experiments.comparison.out_of_fold import out_of_fold_predictions
    from experiments.runs.identity import data_identity
    from experiments.training.embedding_cache import default_root

    model = _MODEL.value
    if not model:
        model = PRETRAINED_MODEL if is_fetched(BASELINE_WEIGHTS) else "mfcc_logistic"
        hint = "" if model == PRETRAINED_MODEL else "; python -m experiments.fetch_weights fetches a better one"
        print(f"labels are judged by {model}{hint}")
    if model == PRETRAINED_MODEL:  # each fold hears the same clips
        settings = dataclasses.replace(settings, cache_embeddings=True)
        print(f"its embeddings of the clips are kept in {default_root()}, which may be removed")
    by_artist = ARTIST in (_FOLDS_BY.value, _FOLDS.value)
    folds, seeds = parse_folds(_FOLDS.value), range(_NUM_SEEDS.value)
    # Other clips, labels or folds have a folder of their own: an audit after corrections trains anew.
    drawn = f"{data_identity(catalog)['sha256'][:12]}-{folds}-by-{'artist' if by_artist else 'clip'}"
    output_dir = output_dir / drawn
    output_dir.mkdir(parents=True, exist_ok=True)
    return out_of_fold_predictions(settings, [model], list(seeds), folds, output_dir, by_artist)


if __name__ == "__main__":
    console.run(main)
