"""Likely wrong labels: planted ones lead the ranking, and the noise is estimated, where the models know the labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.audit.labels import audit_labels, read_probabilities

LABELS = ("Folk", "Jazz", "Rock")


def made(rng: np.random.Generator, clips: int = 300, wrong: float = 0.1, sharpness: float = 2.5):
    """Clips of which a share has another label than a model that is often right says."""
    truth = rng.integers(0, 3, clips)
    logits = rng.standard_normal((clips, 3)) + sharpness * np.eye(3)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    swapped = rng.choice(clips, round(wrong * clips), replace=False)
    given = truth.copy()
    given[swapped] = (given[swapped] + rng.integers(1, 3, len(swapped))) % 3
    paths = [f"{i}.mp3" for i in range(clips)]
    tracks = pd.DataFrame({"path": paths, "label": np.array(LABELS, object)[given]})
    table = pd.DataFrame(probabilities, columns=[f"probability_{label}" for label in LABELS]).assign(path=paths)
    return tracks, table, swapped, truth


def test_swapped_labels_lead_the_ranking(rng):
    tracks, table, swapped, truth = made(rng)
    audit = audit_labels(tracks, LABELS, table)
    first = set(audit.ranking["path"].head(45))
    assert np.mean([f"{i}.mp3" in first for i in swapped]) >= 0.6
    # The quality of a label is its probability.
    own = audit.ranking.apply(lambda row: row[f"probability_{row['label']}"], axis=1)
    np.testing.assert_allclose(audit.ranking["quality"], own, rtol=1e-9)
    suspects = audit.ranking[audit.ranking["is_suspect"]]
    assert (suspects["likely_label"] != suspects["label"]).all() and 15 <= len(suspects) <= 60
    right = [LABELS[truth[int(path.removesuffix(".mp3"))]] for path in suspects["path"]]
    assert np.mean(suspects["likely_label"] == right) > 0.6
    assert audit.noise["given_wrongly"].between(0.02, 0.3).all() and audit.noise["clips"].sum() == 300


def test_seeds_are_averaged_and_clips_without_prediction_counted(rng):
    tracks, table, *_ = made(rng, 60)
    more = [table, table.iloc[:50].assign(probability_Folk=1.0, probability_Jazz=0.0, probability_Rock=0.0)]
    whole = pd.concat(more).query("path != '59.mp3'")
    whole["path"] = [str(Path(path).absolute()) for path in whole["path"]]
    audit = audit_labels(tracks, LABELS, whole)
    assert audit.left_out == 1 and len(audit.ranking) == 59
    row = audit.ranking.set_index("path").loc["3.mp3"]
    assert row["probability_Folk"] == pytest.approx((table["probability_Folk"][3] + 1) / 2)
    assert audit.ranking.set_index("path").loc["55.mp3", "probability_Jazz"] == pytest.approx(
        table["probability_Jazz"][55]
    )


def test_two_labels_for_one_thing_overlap_most(rng):
    tracks, table, *_ = made(rng, wrong=0)
    coin = rng.random(len(tracks)) < 0.5
    tracks["label"] = tracks["label"].where(
        ~((tracks["label"] != "Rock") & coin), tracks["label"].map({"Folk": "Jazz", "Jazz": "Folk"})
    )
    first = audit_labels(tracks, LABELS, table).overlaps.iloc[0]
    assert {first["label"], first["other"]} == {"Folk", "Jazz"}


def test_predictions_that_do_not_fit_are_refused(rng, tmp_path):
    tracks, table, *_ = made(rng, 30)
    with pytest.raises(ValueError, match="found no probability_Pop"):
        audit_labels(tracks, (*LABELS, "Pop"), table)
    with pytest.raises(ValueError, match="found none of its paths"):
        audit_labels(tracks, LABELS, table.assign(path="x"))
    with pytest.raises(ValueError, match="add up to 1"):
        audit_labels(tracks, LABELS, table.assign(probability_Folk=0.9))
    with pytest.raises(ValueError, match=r"2 clips of each .* too few of: Rock"):
        audit_labels(tracks[tracks["label"] != "Rock"], LABELS, table)
    table.assign(probability_Folk="much").to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ValueError, match=r"expected numbers in the columns .* of .*p\.csv"):
        read_probabilities(tmp_path / "p.csv")
    table.to_csv(tmp_path / "p.csv", index=False)
    pd.testing.assert_frame_equal(read_probabilities(tmp_path / "p.csv"), table)
