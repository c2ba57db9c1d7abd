"""The page of an audit: each suspect with what to compare it with, and a choice of what to do about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from experiments.audit.audit import Audit
from experiments.audit.findings import COLUMNS, KINDS, Finding, clip_anchor
from experiments.audit.labels import LabelAudit
from experiments.reporting.addresses import embedded_url, relative_url
from experiments.reporting.badges import AUDIT_PAGE
from experiments.reporting.rendering import render_page
from pipeline.storage.atomic import write_text
from pipeline.storage.clips import find_record_span

MOST_SUSPECTS = 200  # of a section: nobody listens to more at a sitting, and a player takes memory
MOST_EMBEDDED_BYTES = 100_000_000  # of sound in the page, as text: browsers hold all of it in memory
_MOST_BARS = 6
# Sections of the page: what they look at, their heading and what is chosen in them.
_SECTIONS = {
    "labels": (
        "Likely wrong labels",
        "Models that were not trained on a clip disagree with its label, the surest first. Beside it play clips of which they are "
        "surest that the label is right.",
    ),
    "copies": (
        "Copies",
        "Two clips that hold the same recording, or bear the same title. The first of a pair is the one to leave out: it stands in "
        "training where the other does not, or is the poorer file.",
    ),
    "sound": ("Faults of the sound", "What no label makes up for."),
}


@dataclasses.dataclass(frozen=True)
class Player:
    """A clip to listen to.

    Attributes:
        anchor: the name of its place in the page; "" where another place has it.
        role: what it is beside the others, in words.
        name: its title, or its file's name.
        artist, label, split: "" where unknown.
        path: as in the catalog.
        url: of its audio; "" if there is none here.
        source: the anchor of the place whose embedded sound it plays too; otherwise "".
        silence: why it cannot be played, where no finding says it; otherwise "".
    """

    anchor: str
    role: str
    name: str
    artist: str
    label: str
    split: str
    path: str
    url: str
    source: str = ""
    silence: str = ""


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A suspect of one section, with what it is compared with.

    Attributes:
        players: the suspect first.
        findings: of the same clip and partner; each is a row of the file that the page saves.
        bars: probability of labels, the likeliest first, as label, share, and whether it is the clip's.
        relabel: the label that it likely should have, or "".
    """

    players: list[Player]
    findings: list[Finding]
    bars: list[tuple[str, float, bool]]
    relabel: str

    @property
    def kinds(self) -> list[str]:
        """What was found, in words."""
        return [KINDS[finding.finding].words for finding in self.findings]

    @property
    def rows(self) -> list[list[str]]:
        """The rows of audit.csv, as texts."""
        return [finding.row for finding in self.findings]


@dataclasses.dataclass(frozen=True)
class Section:
    """Suspects of one check.

    Attributes:
        name: of the check.
        heading, words: at the head of the section.
        suspects: those that are shown.
        more: how many are not.
    """

    name: str
    heading: str
    words: str
    suspects: list[Suspect]
    more: int


class _Players:
    """Makes players, of which the first of each clip has its anchor, and its sound where that is embedded."""

    def __init__(self, tracks: pd.DataFrame, folder: Path, undecodable: Iterable[str]) -> None:
        self._rows = {row["path"]: row for row in tracks.to_dict("records")}
        self._folder, self._undecodable = folder, set(undecodable)
        self._first: dict[str, Player] = {}
        self._embedded_bytes = 0

    def player(self, path: str, role: str) -> Player:
        first = self._first.get(path)
        if first is not None:
            is_embedded = bool(first.url) and find_record_span(path) is not None
            url, source = ("", first.anchor) if is_embedded else (first.url, "")
            return dataclasses.replace(first, anchor="", role=role, url=url, source=source)
        row = self._rows[path]
        url, silence = ("", "") if path in self._undecodable else self._address(path)
        self._first[path] = Player(
            clip_anchor(path),
            role,
            row["title"] or Path(path).name,
            row["artist"],
            row["label"],
            row["split"],
            path,
            url,
            silence=silence,
        )
        return self._first[path]

    def _address(self, path: str) -> tuple[str, str]:
        """Returns the address of a clip's audio, or "" and why there is none."""
        span = find_record_span(path)
        if span is None:
            return relative_url(path, self._folder), ""
        # A clip in a record shard has no file of its own to point at.
        if self._embedded_bytes + 4 * span.length / 3 > MOST_EMBEDDED_BYTES:
            return "", f"No player: this page holds {MOST_EMBEDDED_BYTES / 1e6:.0f} MB of sound already."
        try:
            url = embedded_url(path)
        except OSError as error:
            return "", f"No player: its shard cannot be read ({error})."
        self._embedded_bytes += len(url)
        return url, ""


def write_audit_page(audit: Audit, output_dir: Path) -> Path:
    """Writes audit.html beside audit.csv.

    Args:
        audit: what was found.
        output_dir: where audit.csv is.

    Returns:
        The page's path.
    """
    page = output_dir / AUDIT_PAGE
    undecodable = [finding.clip for finding in audit.findings if finding.finding == "undecodable"]
    players = _Players(audit.catalog.tracks, output_dir, undecodable)
    sections = [_section(name, audit, players) for name in _SECTIONS if name in audit.summary["checks"]]
    html = render_page(
        "audit.html.jinja",
        ("report.css", "audit.css"),
        "audit.js",
        clips=audit.summary["clips"],
        counts=[(KINDS[kind].words, count) for kind, count in audit.summary["findings"].items() if count],
        sections=sections,
        labels=audit.labels,
        columns=list(COLUMNS),
    )
    write_text(page, html)
    return page


def _section(name: str, audit: Audit, players: _Players) -> Section:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in audit.findings:
        if KINDS[finding.finding].check == name:
            groups.setdefault((finding.clip, finding.partner), []).append(finding)
    shown = list(groups.items())[:MOST_SUSPECTS]
    typical = _typical_clips(audit.labels, audit.findings) if audit.labels and name == "labels" else {}
    suspects = []
    for (clip, partner), findings in shown:
        heard = [players.player(clip, "Suspect" if name == "labels" else "To leave out" if partner else "Suspect")]
        if partner:
            heard.append(players.player(partner, "Stays"))
        bars: list[tuple[str, float, bool]] = []
        relabel = ""
        if name == "labels" and audit.labels is not None:
            own, relabel = findings[0].label, findings[0].likely_label
            heard += [
                players.player(typical[label], f"Typical of {label}") for label in (own, relabel) if label in typical
            ]
            bars = _bars(audit.labels, clip, own)
        suspects.append(Suspect(heard, findings, bars, relabel))
    return Section(name, *_SECTIONS[name], suspects, len(groups) - len(shown))


def _typical_clips(labels: LabelAudit, findings: Sequence[Finding]) -> dict[str, str]:
    """Finds for each label the clip of the best quality; one of which nothing was found, if there is any."""
    suspects = {path for finding in findings for path in (finding.clip, finding.partner)}
    right = labels.ranking[~labels.ranking["is_suspect"]]
    ranked = right.assign(is_clean=~right["path"].isin(suspects)).sort_values(["is_clean", "quality"], kind="stable")
    best = ranked.drop_duplicates("label", keep="last")
    return dict(zip(best["label"], best["path"], strict=True))


def _bars(labels: LabelAudit, clip: str, own: str) -> list[tuple[str, float, bool]]:
    row = labels.ranking[labels.ranking["path"] == clip].iloc[0]
    shares = {
        name.removeprefix("probability_"): float(row[name]) for name in row.index if name.startswith("probability_")
    }
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    shown = ranked[:_MOST_BARS] + [item for item in ranked[_MOST_BARS:] if item[0] == own]
    return [(label, share, label == own) for label, share in shown]
