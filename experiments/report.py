"""Writes a finished run's report: one HTML page to see its scores, and to see and hear the clips that it got wrong.

    python -m experiments.report --run_dir=runs/rock_hiphop
    python -m experiments.report --run_dir=runs/rock_hiphop --embed_audio --output=rock_hiphop.html
    python -m experiments.report --run_dir=runs/rock_hiphop --audit_csv=audit/audit.csv

The page needs no network. It plays the clips from where they lie, so it must stay where it was written; with
--embed_audio it holds the misclassified ones itself, and can be passed on. Runs the model over the test clips once more
(seconds for each hundred).
"""

from pathlib import Path

from absl import flags

from experiments import console
from experiments.flag_types import define_number, define_path

_RUN_DIR = define_path("run_dir", "runs/latest", "Run directory that train wrote.")
_OUTPUT = define_path("output", None, "The page to write; default: <run_dir>/report.html.")
_EMBED_AUDIO = flags.DEFINE_bool("embed_audio", False, "Put the misclassified clips' files into the page.")
_MAX_CLIPS = define_number(
    "max_clips",
    1000,
    "Most clips to show, the most confident errors first. A page has about 30 kB a clip.",
    minimum=1,
    limit=1_000_000,
)
_AUDIT_CSV = define_path(
    "audit_csv",
    None,
    "Show what audit_data found of the clips, from its audit.csv, with links into the page beside it.",
)


def main(argv: list[str]) -> None:
    del argv
    from experiments.reporting.page import write_report

    audit_csv = Path(_AUDIT_CSV.value) if _AUDIT_CSV.value else None
    output = Path(_OUTPUT.value or Path(_RUN_DIR.value) / "report.html")
    print(write_report(Path(_RUN_DIR.value), output, _EMBED_AUDIO.value, _MAX_CLIPS.value, audit_csv))


if __name__ == "__main__":
    console.run(main, resumable=False)
