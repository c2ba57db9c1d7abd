"""Writes the goldens of `tests/test_goldens.py`: what the project wrote before its modules moved.

    cd tests/goldens && PYTHONPATH=../..:.. python make_goldens.py --music=MUSIC

MUSIC is a folder of 30 s excerpts NNN/NNNNNN.mp3 of the pieces in music/README.md. Without --music the clips that are
here are kept, and the rest is written anew from them; about a minute on two cores.

The goldens are a record. They were written at commit 3f5ea79, with Python, TensorFlow and the other libraries that
versions.json names. To write them again with later code would prove nothing: only where a change of results is meant,
such as another default resampler, are the ones that it touches made again, and the commit says why.
"""

import argparse
import csv
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
from test_goldens import CHECKPOINT, GOLDEN_DECODERS, GOLDENS, describe_crops, describe_tracks

from pipeline.mp3.frames import find_frame, parse_header, skip_id3v2, walk

# (file, excerpt, frames, whether its ID3 tag and Info or Xing frame are kept)
MUSIC = (
    ("maxstack-nebula.mp3", 107358, 268, True),  # 44.1 kHz, constant 160 kbit/s, joint stereo, Info: 7 s
    ("sectoid-metal-madness.mp3", 80984, 307, True),  # 44.1 kHz, variable, joint stereo, Xing with a table: 8 s
    ("obsidian-shell-wings-of-cruelty.mp3", 59885, 268, False),  # 22.05 kHz, constant 160 kbit/s, joint stereo: 7 s
)
# (label, split, artist, title, excerpt)
DATA = (
    ("Electronic", "training", "Maxstack", "Nebula", 44291),
    ("Electronic", "training", "Maxstack", "By-Product", 154701),
    ("Electronic", "training", "Maxstack", "Deprecation", 146268),
    ("Electronic", "training", "Maxstack", "Aberrations", 101124),
    ("Electronic", "validation", "DJ Sjors", "Swallow Water", 91322),
    ("Electronic", "validation", "Ambick", "Xylophonia", 115393),
    ("Electronic", "test", "Kenta Cho", "gr3", 33535),
    ("Electronic", "test", "Kenta Cho", "stg4", 151700),
    ("Rock", "training", "Obsidian Shell", "Second Birth", 85461),
    ("Rock", "training", "Obsidian Shell", "Starfall", 25072),
    ("Rock", "training", "Obsidian Shell", "Fear", 117197),
    ("Rock", "training", "Obsidian Shell", "Misanthropia", 118575),
    ("Rock", "validation", "Sectoid", "Metal madness", 13873),
    ("Rock", "validation", "Sectoid", "Feelings", 147386),
    ("Rock", "test", "Sectoid", "War of freedom", 64206),
    ("Rock", "test", "Sectoid", "Escape from chaosland", 148357),
)
DATA_BEGIN_SECONDS, DATA_SECONDS = 10.0, 3.2
# (rate in Hz, channels, variable bit rate), each in turn
ENCODINGS = ((22050, 1, False), (44100, 1, True), (16000, 2, False), (24000, 1, True))
LIBRARIES = ("tensorflow", "tensorflow-io", "keras", "kapre", "numpy", "soundfile", "soxr")


def cut_frames(data: bytes, frames: int, whole: bool) -> bytes:
    """Cuts the first frames of an MP3 as they are.

    The first frame of a stream refers to nothing before it, and no frame refers to one behind it: the cut is clean.
    Its Info or Xing frame is made right: number of frames and bytes, table, checksums; and as its padding the 529 samples
    that a decoder is late, which is what the last frame lacks.
    """
    offset, header = find_frame(data, skip_id3v2(data))
    places = [place for place, _ in zip(walk(data, offset, header), range(frames + 2), strict=False)]
    music = data[places[1] : places[-1]]
    if not whole:
        return music
    info = bytearray(data[places[0] : places[1]])
    tag = 4 + header.side_info_bytes
    assert info[tag : tag + 4] in (b"Info", b"Xing") and info[tag + 4 : tag + 8] == bytes((0, 0, 0, 15))
    info[tag + 8 : tag + 12] = frames.to_bytes(4, "big")
    size = len(info) + len(music)
    info[tag + 12 : tag + 16] = size.to_bytes(4, "big")
    starts = [place - places[0] for place in places[1:]]
    info[tag + 16 : tag + 116] = bytes(starts[i * frames // 100] * 256 // size for i in range(100))
    lame = tag + 120
    info[lame + 22] = info[lame + 22] & 0xF0 | 529 >> 8
    info[lame + 23] = 529 & 0xFF
    info[lame + 28 : lame + 32] = size.to_bytes(4, "big")
    info[lame + 32 : lame + 34] = crc16(music).to_bytes(2, "big")
    info[lame + 34 : lame + 36] = crc16(bytes(info[:190])).to_bytes(2, "big")
    assert parse_header(bytes(info)) is not None
    return data[:offset] + bytes(info) + music


def crc16(data: bytes) -> int:
    """The checksum of LAME's tag (polynomial 0x8005, reflected)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def write_clips(music: Path) -> None:
    """Cuts the three clips, and encodes the short ones with LAME."""
    for name, excerpt, frames, whole in MUSIC:
        data = (music / f"{excerpt // 1000:03d}" / f"{excerpt:06d}.mp3").read_bytes()
        (GOLDENS / "music" / name).write_bytes(cut_frames(data, frames, whole))
    with open(GOLDENS / "data" / "clips.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "label", "split", "artist", "title", "track_id"))
        for i, (label, split, artist, title, excerpt) in enumerate(DATA):
            rate_hz, channels, variable = ENCODINGS[i % len(ENCODINGS)]
            audio, source_hz = soundfile.read(
                music / f"{excerpt // 1000:03d}" / f"{excerpt:06d}.mp3", dtype="float32", always_2d=True
            )
            begin = round(DATA_BEGIN_SECONDS * source_hz)
            audio = audio[begin : begin + round(DATA_SECONDS * source_hz)]
            audio = audio.mean(axis=1, keepdims=True) if channels == 1 else audio
            name = f"{artist} {title}.mp3".lower().replace(" ", "-")
            soundfile.write(
                GOLDENS / "data" / name,
                soxr.resample(audio, source_hz, rate_hz),
                rate_hz,
                format="MP3",
                subtype="MPEG_LAYER_III",
                bitrate_mode="VARIABLE" if variable else "CONSTANT",
                compression_level=0.8,
            )
            table.writerow((name, label, split, artist, title, excerpt))


def command(module: str, *flags: str) -> None:
    """Runs one of the project's commands here."""
    subprocess.run([sys.executable, "-m", f"experiments.{module}", *flags], cwd=GOLDENS, check=True)


def write_run() -> None:
    """Trains; keeps the finished run, and what stood on the disk right after its last checkpoint but one."""
    run, interrupted = GOLDENS / "run", GOLDENS / "run_interrupted"
    for name in ("run", "run_interrupted", "export", "records"):
        shutil.rmtree(GOLDENS / name, ignore_errors=True)
    command("train", "--flagfile=train.flags", "--output_dir=run")
    (interrupted / "checkpoints").mkdir(parents=True)
    for file in ("settings.json", "data.json", "failures.csv", f"checkpoints/{CHECKPOINT}"):
        shutil.copy(run / file, interrupted / file)
    command("export_saved_model", "--run_dir=run", "--export_dir=export")
    command("pack_records", "--dataset=csv", "--data_dir=data/clips.csv", "--num_shards=2", "--output_dir=records")
    for name in ("checkpoints", "tensorboard"):  # large; names its machine
        shutil.rmtree(run / name)
    for picture in run.glob("*.png"):
        picture.unlink()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--music", type=Path, help="Folder of the excerpts; default: the clips stay as they are.")
    arguments = parser.parse_args()
    if arguments.music:
        write_clips(arguments.music)
    write_run()
    crops = {}
    for decoder in GOLDEN_DECODERS:
        crops |= describe_crops(decoder) | describe_tracks(decoder)
    np.savez_compressed(GOLDENS / "crops.npz", **crops)
    versions = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}
    versions |= {"libsndfile": soundfile.__libsndfile_version__, "machine": platform.machine()}
    (GOLDENS / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
