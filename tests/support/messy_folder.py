"""A folder of music as people have them: with every kind of file, link, name and table that is known to go wrong."""

import os
import unicodedata
from pathlib import Path

import av
import numpy as np
import soundfile
from support.audio import music, without_length_tag, write_mp3

RATE_HZ = 22050
LABELS = ("Classical", "Jazz", "Rock")
CLIPS = 8  # good ones a label

# By the folder's relative names: files that cannot be used, of which a part is not used, and in which nothing is heard.
UNDECODABLE = {
    "Rock/absurd.wav": "no sound",
    "Rock/nan.wav": "no sound",
    "Rock/aac.mp3": "AAC or ALAC in an MP4 file",
    "Jazz/page.mp3": "a web page",
    "Jazz/empty.mp3": "empty file",
    "Jazz/liar.flac": "its last frame ends after 4.00 s",
    "Classical/text.mp3": "not",
}
IN_PART = {
    "Rock/two rates.mp3": "s of another sample rate or layer follow after 3.00 s",
    "Jazz/two rates.ogg": "2.00 s follow",
}
SILENT = ("Rock/silent.flac", "Rock/opposite.mp3", "Jazz/one.wav")


def make_messy_folder(root: Path, outside: Path) -> None:
    """Makes the folder.

    Args:
        root: of the folder.
        outside: another folder, to which links of it lead.
    """
    base = root / "genres_original"  # as archives unpack
    for number, label in enumerate(LABELS):
        for i in range(CLIPS):
            audio = music(4, RATE_HZ, 1 + i % 2, seed=10 * number + i)
            write_mp3(base / label / f"album {i % 4}" / f"{i}.mp3", audio, RATE_HZ, variable=i % 3 == 0)
    _write_decodable(base)
    _write_undecodable(base)
    _write_names_and_links(base, outside)
    rows = ["Path;Artist"]
    for path in sorted(base.glob("*/album */*.mp3")):
        name = path.relative_to(base)
        rows.append("\\".join(name.parts) + f";artist {name.parts[0]} {name.parts[1]}")
    rows += [f"./{name};artist of {name.split('/')[0]}" for name in (*UNDECODABLE, *IN_PART, *SILENT)]
    rows += [f"Jazz/linked/{i}.mp3;guest" for i in range(2)] + ["Jazz/gone.mp3;nobody"]
    rows += [
        f"Rock/{name};artist of Rock" for name in ("joined.mp3", "mono and stereo.mp3", "no length.mp3", "pipe.flac")
    ]
    rows += ["Jazz/chained.ogg;artist of Jazz", f"Jazz/{unicodedata.normalize('NFC', 'Café')}.mp3;artist of Jazz"]
    (base / "metadata.csv").write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")


def _write_decodable(base: Path) -> None:
    rock, jazz = base / "Rock", base / "Jazz"
    stereo, mono = music(3, RATE_HZ, 2, seed=100), music(3, RATE_HZ, 1, seed=101)
    two, one = (write_mp3(base / "x.mp3", audio, RATE_HZ).read_bytes() for audio in (stereo, mono))
    other = write_mp3(base / "x.mp3", music(2, 16000, 1, seed=102), 16000).read_bytes()
    (base / "x.mp3").unlink()
    (rock / "joined.mp3").write_bytes(two + two)
    (rock / "mono and stereo.mp3").write_bytes(one + two)
    (rock / "two rates.mp3").write_bytes(two + other)
    (rock / "no length.mp3").write_bytes(without_length_tag(two))
    soundfile.write(rock / "pipe.flac", stereo, RATE_HZ)
    data = bytearray((rock / "pipe.flac").read_bytes())
    data[21:26] = bytes((data[21] & 0xF0,)) + bytes(4)  # the number of samples: unknown
    (rock / "pipe.flac").write_bytes(data)
    oggs = []
    for rate_hz, seconds in ((RATE_HZ, 3), (16000, 2)):
        soundfile.write(base / "x.ogg", music(seconds, rate_hz, 2, seed=rate_hz), rate_hz)
        oggs.append((base / "x.ogg").read_bytes())
    (base / "x.ogg").unlink()
    (jazz / "chained.ogg").write_bytes(oggs[0] + oggs[0])
    (jazz / "two rates.ogg").write_bytes(oggs[0] + oggs[1])
    soundfile.write(rock / "silent.flac", np.zeros(RATE_HZ * 3), RATE_HZ)
    write_mp3(rock / "opposite.mp3", np.concatenate([mono, -mono], axis=1), RATE_HZ)
    soundfile.write(jazz / "one.wav", mono[5000:5001], RATE_HZ)


def _write_undecodable(base: Path) -> None:
    rock, jazz = base / "Rock", base / "Jazz"
    audio = music(4, RATE_HZ, 1, seed=200)
    for name, sample in (("absurd.wav", 1e29), ("nan.wav", np.nan)):
        wrong = audio.copy()
        wrong[:: RATE_HZ // 2] = sample
        soundfile.write(rock / name, wrong, RATE_HZ, subtype="FLOAT")
    with av.open(str(rock / "aac.mp3"), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=44100, frame_size=1024)
        for piece in (*resampler.resample(frame), None):
            output.mux(stream.encode(piece))
    (jazz / "page.mp3").write_text("<!DOCTYPE html><html>404</html>")
    (jazz / "empty.mp3").write_bytes(b"")
    soundfile.write(jazz / "liar.flac", audio, RATE_HZ)
    data = bytearray((jazz / "liar.flac").read_bytes())
    data[21:26] = bytes((data[21] | 0x0F,)) + b"\xff" * 4  # 865 hours
    (jazz / "liar.flac").write_bytes(data)
    (base / "Classical" / "text.mp3").write_text("no music\n" * 100)


def _write_names_and_links(base: Path, outside: Path) -> None:
    rock, jazz = base / "Rock", base / "Jazz"
    for i in range(2):
        write_mp3(outside / "album" / f"{i}.mp3", music(4, RATE_HZ, 1, seed=300 + i), RATE_HZ)
    (jazz / "linked").symlink_to(outside / "album")
    (jazz / "loop").symlink_to(base)
    (jazz / "again.mp3").symlink_to(jazz / "album 0" / "0.mp3")
    (jazz / "nowhere.mp3").symlink_to(outside / "gone.mp3")
    write_mp3(jazz / (unicodedata.normalize("NFD", "Café") + ".mp3"), music(4, RATE_HZ, 1, seed=310), RATE_HZ)
    strange = os.fsdecode(os.fsencode(rock) + b"/caf\xe9.mp3")  # not UTF-8
    write_mp3(rock / "strange.mp3", music(4, RATE_HZ, 1, seed=311), RATE_HZ).rename(strange)
    (base / "Classical" / "the same as in Rock.mp3").write_bytes((rock / "album 1" / "1.mp3").read_bytes())
    for name in (".Trash-1000/files/x.mp3", "Rock/.hidden.mp3", "Rock/._1.mp3", "__MACOSX/Rock/._1.mp3"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes((rock / "joined.mp3").read_bytes())
    for name in (
        "Rock/cover.jpg",
        "Jazz/list.m3u",
        "Folk/a.m4a",
        "Folk/b.m4a",
        "Rock/c.wma",
        "readme.txt",
        "loose.mp3",
    ):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"not for training")
    (base / "Empty").mkdir()
