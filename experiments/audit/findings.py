"""The findings of an audit: their kinds, and audit.csv, written and read in one place."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.runs.csv_rows import read_rows, write_rows


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        check: the part of the audit that finds it: "labels", "copies" or "sound".
        words: what it says of a clip, for people.
        score: what its score is; a larger one is worse.
    """

    check: str
    words: str
    score: str


# In the order of audit.csv.
KINDS = {
    "undecodable": Kind("sound", "cannot be decoded", "1"),
    "silent": Kind("sound", "silent", "decibels below full scale, where it is loudest"),
    "too_short": Kind("sound", "far too short", "the share of the median length that it lacks"),
    "one_channel": Kind("sound", "one channel is silent", "decibels between the channels"),
    "out_of_phase": Kind("sound", "channels out of phase", "correlation of the channels, its sign changed"),
    "clipped": Kind("sound", "clipped", "share of the samples that are cut off"),
    "band_limited": Kind("sound", "upsampled from a low rate", "decibels by which the spectrum falls at its end"),
    "remark": Kind("sound", "to know of", "1"),
    "leak": Kind("copies", "a copy in another split", "that of the copy"),
    "other_label": Kind("copies", "copy with another label", "that of the copy"),
    "equal_bytes": Kind("copies", "the same file", "1"),
    "copy": Kind("copies", "the same recording", "share of the landmarks that agree"),
    "same_title": Kind("copies", "same artist and title", "1"),
    "wrong_label": Kind("labels", "likely another label", "1 less the label's quality, by cleanlab"),
}
_NEEDED = ("clip", "finding", "score", "partner")
COLUMNS = (*_NEEDED, "track_id", "label", "likely_label", "split", "detail")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A row of audit.csv.

    Attributes:
        clip: path as in the catalog; of a pair the one to leave out.
        finding: one of `KINDS`.
        score: larger is worse; `KINDS` says of what.
        partner: path of the other clip of a pair, or "".
        track_id, label, split: of the clip.
        likely_label: of a clip whose label is likely wrong, what it likely is; otherwise "".
        detail: in words.
    """

    clip: str
    finding: str
    score: float
    partner: str = ""
    track_id: str = ""
    label: str = ""
    likely_label: str = ""
    split: str = ""
    detail: str = ""

    @property
    def row(self) -> list[str]:
        """Its row of audit.csv, in the order of `COLUMNS`."""
        return [f"{value:.4f}" if isinstance(value, float) else value for value in dataclasses.astuple(self)]


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Sorts findings by kind, and those of a kind from the worst on."""
    order = {name: place for place, name in enumerate(KINDS)}
    return sorted(findings, key=lambda finding: (order[finding.finding], -finding.score, finding.clip, finding.partner))


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Writes audit.csv, with `COLUMNS`."""
    write_rows(path, COLUMNS, (finding.row for finding in findings))


def read_findings(path: Path) -> list[Finding]:
    """Reads audit.csv.

    Raises:
        ValueError: there is none, or it is of another kind.
    """
    if not path.is_file():
        raise ValueError(f"expected an audit's table at {path}, found none; run experiments.audit_data first")
    rows = read_rows(path, _NEEDED, "an audit's findings", "run experiments.audit_data again")
    try:
        findings = [
            Finding(**{name: row.get(name) or "" for name in COLUMNS if name != "score"}, score=float(row["score"]))
            for row in rows
        ]
    except ValueError as error:
        raise ValueError(
            f"expected a number as each score in {path}, but: {error}; run experiments.audit_data again"
        ) from error
    if unknown := sorted({finding.finding for finding in findings} - set(KINDS)):
        raise ValueError(f"expected findings among {', '.join(KINDS)} in {path}, found {unknown[0]!r}; mend the table")
    return findings


def clip_anchor(path: str) -> str:
    """Returns the name by which a page is addressed for a clip, such as audit.html#clip-1a2b3c4d5e6f."""
    return f"clip-{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"
