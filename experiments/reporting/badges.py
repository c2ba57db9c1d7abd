"""What an audit found of clips, as the badges beside their names in a report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from experiments.audit.findings import KINDS, clip_anchor, read_findings
from experiments.reporting.addresses import relative_url
from pipeline.catalogs.corrections import file_key

AUDIT_PAGE = "audit.html"  # beside audit.csv


@dataclasses.dataclass(frozen=True)
class Badge:
    """A finding beside a clip's name.

    Attributes:
        words: what was found.
        detail: more words.
        url: of the clip's place in the page of the audit, or "" where that page is not beside audit.csv.
    """

    words: str
    detail: str
    url: str


def find_badges(audit_csv: Path, folder: Path) -> dict[str, list[Badge]]:
    """Reads the findings of an audit.

    Args:
        audit_csv: its table.
        folder: where the report will lie, which links to the audit's page.

    Returns:
        The badges of each clip that has some, by `file_key` of its path; of a pair both clips have one.

    Raises:
        ValueError: there is no such table, or it is of another kind.
    """
    page = audit_csv.with_name(AUDIT_PAGE)
    base = relative_url(str(page), folder) if page.is_file() else ""
    badges: dict[str, list[Badge]] = {}
    for finding in read_findings(audit_csv):
        for path in filter(None, (finding.clip, finding.partner)):
            url = f"{base}#{clip_anchor(path)}" if base else ""
            words = KINDS[finding.finding].words
            held = badges.setdefault(file_key(path), [])
            if words not in (badge.words for badge in held):
                held.append(Badge(words, finding.detail, url))
    return badges
