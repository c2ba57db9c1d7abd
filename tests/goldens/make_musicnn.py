"""Writes musicnn.npz, what the original musicnn says of real clips, for `tests/layers/networks/test_musicnn.py`.

    cd tests/goldens && PYTHONPATH=../.. python make_musicnn.py --original_python=ORIGINAL/bin/python --package=PACKAGE

The original runs in an environment of its own, which Python 3.10 or 3.11 makes:

    python -m venv ORIGINAL
    ORIGINAL/bin/pip install tensorflow-cpu==2.15.1 numpy==1.23.5 scipy==1.15.3 numba==0.68.1 librosa==0.9.2 soundfile==0.14.0
    pip download --no-deps musicnn==0.1.0
    python -m zipfile -e musicnn-0.1.0-py3-none-any.whl PACKAGE

The clips are decoded and resampled to 16 kHz by this project, and written as WAVs of float32, so that both sides get the same
samples. Of its code nothing is changed, and of its settings one: it describes all windows of a clip at once. With batches of
one, which it has by default, it returns the embedding of the first window for all, because its loop over the later ones gives
the value another name than the one that it appends.

Two things depend on what it is run with. librosa from 0.9 on pads the ends of a waveform with zeros, as here, and before by
reflection. And its mel spectrogram of float16 is multiplied by 10,000 in float32 by NumPy 1, as here, but in float16, where it
overflows, by NumPy 2. About a minute on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

GOLDENS = Path(__file__).resolve().parent
SAMPLE_RATE_HZ = 16000
CLIPS = (
    "music/maxstack-nebula.mp3",
    "music/obsidian-shell-wings-of-cruelty.mp3",
    "music/sectoid-metal-madness.mp3",
    "data/ambick-xylophonia.mp3",
    "data/dj-sjors-swallow-water.mp3",
    "data/sectoid-feelings.mp3",
)
WEIGHTS = {"musicnn_msd": "MSD_musicnn", "musicnn_mtt": "MTT_musicnn"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original_python", help="Python of the original's environment.")
    parser.add_argument("--package", required=True, help="Folder of the unpacked wheel.")
    parser.add_argument("--wavs", help="Internal: the folder of the decoded clips, in the original's environment.")
    arguments = parser.parse_args()
    if arguments.wavs:
        describe(Path(arguments.wavs), arguments.package)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_wavs(Path(folder))
        command = [arguments.original_python, __file__, f"--package={arguments.package}", f"--wavs={folder}"]
        subprocess.run(command, check=True)


def write_wavs(folder: Path) -> None:
    """Decodes the clips by this project's decoder."""
    import soundfile

    from pipeline.decoding import decode_crop

    for i, clip in enumerate(CLIPS):
        waveform = decode_crop(str(GOLDENS / clip), SAMPLE_RATE_HZ, 0, 0.0)
        soundfile.write(folder / f"{i}.wav", np.squeeze(waveform), SAMPLE_RATE_HZ, subtype="FLOAT")


def describe(folder: Path, package: str) -> None:
    """Runs the original on the decoded clips and writes the goldens."""
    sys.path.insert(0, package)
    import librosa
    import tensorflow as tf
    from musicnn import configuration, extractor

    configuration.BATCH_SIZE = 1000
    goldens = {}
    for i, clip in enumerate(CLIPS):
        for name, model in WEIGHTS.items():
            taggram, tags, features = extractor.extractor(str(folder / f"{i}.wav"), model=model, extract_features=True)
            goldens[f"{clip} {name} tags"] = taggram.astype(np.float32)  # [windows, 50]
            goldens[f"{clip} {name} penultimate"] = features["penultimate"].astype(np.float32)  # [windows, 200]
            goldens[f"{name} labels"] = np.array(tags)
    versions = f"tensorflow {tf.__version__}, librosa {librosa.__version__}, numpy {np.__version__}"
    np.savez_compressed(GOLDENS / "musicnn.npz", versions=versions, **goldens)
    print(f"{len(goldens)} arrays, {versions}")


if __name__ == "__main__":
    main()
