"""Audits a data set: likely wrong labels, copies of one recording, and clips whose sound is at fault.

    python -m experiments.audit_data --dataset=folders --data_dir=/data/music --output_dir=audit
    python -m experiments.audit_data --dataset=fma --data_dir=/data/fma --checks=copies,sound --output_dir=audit
    python -m experiments.train --dataset=folders --data_dir=/data/music --exclude_csv=exclude.csv --relabel_csv=relabel.csv

Writes audit.csv (clip, finding, score, partner, ...), audit.json (counts, estimated noise of each label, labels that
overlap, seconds), label_ranking.csv (every clip, the likeliest wrong label first) and audit.html, in which you listen to
each suspect beside its partner, or beside clips that are typical of its labels, and choose: the page saves exclude.csv
and relabel.csv for training. Of a pair, `clip` is the one to leave out: that in training, where the other is not.

Sound and copies take about 0.1 s of CPU a clip of 30 s. What a clip gave stays in --output_dir, so an interrupted audit
goes on, and a later one decodes new clips alone. Labels take as many trainings as --folds, each on the other artists;
--label_probabilities takes the predictions that you have instead. What is found are suspects: listen before you act.
"""

from pathlib import Path

from absl import flags

from experiments import console, settings_flags
from experiments.flag_types import define_path

settings_flags.define_flags("data")
_OUTPUT_DIR = define_path("output_dir", None, "Where to write.", required=True)
_CHECKS = flags.DEFINE_list("checks", ["labels", "copies", "sound"], "What to look at, with commas between.")
_MODEL = flags.DEFINE_string("model", "mfcc_logistic", "Network or baseline whose opinion of the labels counts, by name.")
_FOLDS = flags.DEFINE_string(
    "folds", "6", "Parts that the artists are divided into, each predicted by a model of the others; artist: each in turn."
)
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of the models, whose probabilities are averaged.")
_LABEL_PROBABILITIES = define_path(
    "label_probabilities",
    None,
    "Take out-of-fold predictions from this CSV (path, probability_LABEL for each label) instead of training.",
)
