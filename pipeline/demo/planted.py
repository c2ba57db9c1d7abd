"""Faults planted in the demo data set, for an audit to find: a wrong label, and a copy of a clip.

soundfile is imported outside `pipeline.decoding` because it writes the copy.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import soundfile

from pipeline.storage.atomic import atomic_write

CUT_SECONDS = 1.3  # missing at the beginning of the copy


def plant_faults(tracks: pd.DataFrame, folder: str | os.PathLike[str]) -> Path:
    """Writes a table of clips with faults in it, as a data set for `--dataset=csv`.

    Args:
        tracks: rows of the demo set's catalog.
        folder: where to write clips.csv and the copy. The clips themselves stay where they are.

    Returns:
        The path of the table, with a row a clip and the column `planted`: "label" for the clip that has another's, "copy" for
        the copy of a clip, which is softer, cut and encoded anew; "" for the others.
    """
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    table = tracks[["path", "label", "split", "artist", "title"]].assign(planted="")
    table["path"] = [str(Path(path).absolute()) for path in table["path"]]
    training = table.index[table["split"] == "training"]
    original, mislabelled = training[0], training[-1]
    labels = sorted(set(table["label"]))
    table.loc[mislabelled, ["label", "planted"]] = [labels[labels.index(table.loc[mislabelled, "label"]) - 1], "label"]
    audio, sample_rate_hz = soundfile.read(table.loc[original, "path"], dtype="float32", always_2d=True)
    copy = folder / "copy.mp3"
    with atomic_write(copy) as temporary:
        soundfile.write(
            temporary,
            audio[round(CUT_SECONDS * sample_rate_hz) :] / 2,
            sample_rate_hz,
            format="MP3",
            subtype="MPEG_LAYER_III",
            compression_level=0.6,
        )
    row = table.loc[[original]].assign(path=str(copy), title="", planted="copy")
    path = folder / "clips.csv"
    with atomic_write(path) as temporary:
        pd.concat([table, row]).to_csv(temporary, index=False)
    return path
