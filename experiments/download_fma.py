"""Downloads the Free Music Archive: the metadata and the audio of a subset, verified and ready for --dataset=fma.

    python -m experiments.download_fma --subset=small --data_dir=/data/fma

Archives: metadata 0.3 GiB, small 7.2, medium 22.2, large 93.4, full 879; their files take as much again. Run the same
command again after any interruption, and it goes on where it stopped. The SHA-1 of each archive is compared with the
one that FMA publishes, that of each file with the list in the archive. When all is there, another run compares the
files' sizes alone, in seconds; --verify_files reads them all. Unpacking bzip2 takes a minute a GiB on one core.
"""

import re
from pathlib import Path

from absl import flags
from tqdm import tqdm

from experiments import console
from experiments.flag_types import define_number, define_path
from pipeline.download.fma import AUDIO, BASE_URL, Step, carry_out, choose_archives, gib, plan, some
from pipeline.storage.folder_lock import locked_folder

_SUBSET = flags.DEFINE_enum("subset", "small", list(AUDIO), "Which clips; each subset includes the smaller ones.")
_DATA_DIR = define_path("data_dir", None, "Where to put archives and folders.", required=True)
_METADATA_ONLY = flags.DEFINE_bool("metadata_only", False, "Fetch the tables and no audio.")
_BASE_URL = flags.DEFINE_string("base_url", BASE_URL, "The server's folder: FMA's own, or a mirror's.")
_SHA1SUMS = define_path(
    "sha1sums", None, "For a mirror that has packed its own archives: a file with their SHA-1, as sha1sum writes it."
)
_KEEP_ARCHIVES = flags.DEFINE_bool(
    "keep_archives",
    True,
    "Keep archives once their files have been verified: lost files come back without the network, and nothing that took "
    "hours is removed unasked. --nokeep_archives frees half of the room.",
)
_VERIFY_FILES = flags.DEFINE_bool(
    "verify_files", False, "Compare the SHA-1 of files that are there, not the size alone."
)
_RETRIES = define_number(
    "retries",
    20,
    "Attempts in a row that bring nothing new before giving up; 20 take a quarter of an hour.",
    minimum=0,
    limit=1_000_000,
)
_STALL_SECONDS = define_number(
    "stall_seconds",
    60.0,
    "A connection slower than 1 KiB a second over this time is opened anew.",
    float,
    minimum=1e-3,
    limit=86_400,
)


class _Bar:
    """Shows bytes done, their rate and the time left, one bar after the other."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._stage, self._done = "", 0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if self._bar is None or stage != self._stage or done < self._done:
            self._close()
            self._stage, self._done = stage, done
            self._bar = console.progress(
                None, total, stage, initial=done, unit="B", unit_scale=True, unit_divisor=1024, leave=False
            )
        self._bar.update(done - self._done)
        self._done = done

    def say(self, text: str) -> None:
        self._close()
        print(text, flush=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def main(argv: list[str]) -> None:
    del argv
    base_url = _BASE_URL.value.rstrip("/") + "/"
    if not re.fullmatch(r"https?://[\x21-\x7e]+", base_url):
        raise ValueError(f"expected --base_url to begin with https:// or http://, received {_BASE_URL.value!r}")
    archives = choose_archives("" if _METADATA_ONLY.value else _SUBSET.value, _SHA1SUMS.value)
    data_dir = Path(_DATA_DIR.value)
    data_dir.mkdir(parents=True, exist_ok=True)
    bar = _Bar()
    with locked_folder(data_dir, "download", say=bar.say):
        steps = plan(archives, data_dir, base_url, _VERIFY_FILES.value, bar)
        for step in steps:
            bar.say(_intention(step, base_url))
        for step in steps:
            carry_out(
                step,
                base_url,
                _KEEP_ARCHIVES.value,
                bar,
                bar.say,
                _RETRIES.value,
                _STALL_SECONDS.value,
            )
        if not _METADATA_ONLY.value:
            bar.say(
                f"try it: {console.command_prefix}probe_audio --dataset=fma --data_dir={data_dir} --subset={_SUBSET.value}"
            )


def _intention(step: Step, base_url: str) -> str:
    name = step.archive.name
    if step.done:
        how = "the SHA-1" if _VERIFY_FILES.value else "the size"
        return f"{name}: nothing to do, every file has {how} that it had when it was verified"
    lost = f"{some(step.lost)} missing or changed; " if step.lost else ""
    fetch = f"fetch {gib(step.fetch_bytes)} from {base_url}{step.path.name}, " if step.fetch_bytes else ""
    return f"{name}: {lost}{fetch}extract about {gib(step.extract_bytes)}"


if __name__ == "__main__":
    console.run(main)
