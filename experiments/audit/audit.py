"""The audit of a data set: its checks, and the files that it writes."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.audit.clip_analysis import ClipAnalysis, analyse_clips
from experiments.audit.findings import KINDS, Finding, sort_findings, write_findings
from experiments.audit.labels import LabelAudit, audit_labels
from experiments.audit.pairs import find_pairs
from experiments.audit.sound import find_sound_faults
from experiments.console import progress
from experiments.runs.csv_rows import write_rows
from pipeline.catalogs.catalog import Catalog
from pipeline.storage.atomic import write_text

CHECKS = ("labels", "copies", "sound")


@dataclasses.dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        catalog: the data set.
        findings: in the order of audit.csv.
        labels: None if the labels were not looked at.
        summary: the contents of audit.json.
    """

    catalog: Catalog
    findings: list[Finding]
    labels: LabelAudit | None
    summary: dict[str, Any]


def check_names(names: Collection[str]) -> tuple[str, ...]:
    """Returns the checks that are named, in their order.

    Raises:
        ValueError: there is none of a name, or none is named.
    """
    unknown = [name for name in names if name not in CHECKS]
    if unknown or not names:
        received = repr(unknown[0]) if unknown else "none"
        raise ValueError(
            f"expected --checks among {', '.join(CHECKS)}, received {received}; name them with commas between"
        )
    return tuple(name for name in CHECKS if name in names)


def run_audit(
    catalog: Catalog, output_dir: Path, checks: Collection[str], predictions: pd.DataFrame | None = None
) -> Audit:
    """Audits a data set, and writes audit.csv, audit.json and, of labels, label_ranking.csv.

    What decoding a clip gives is kept in `output_dir` (`clip_analysis.analyse_clips`), so that an interrupted audit goes on, and
    a later one decodes new clips alone.

    Args:
        catalog: the data set.
        output_dir: where the files are, or will be.
        checks: some of `CHECKS`.
        predictions: out of fold, for the check of labels: see `audit_labels`.

    Raises:
        ValueError: the predictions do not fit the data set.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    tracks = catalog.tracks.drop_duplicates("path").reset_index(drop=True)
    findings: list[Finding] = []
    summary: dict[str, Any] = {"clips": len(tracks), "checks": list(checks), "findings": {}, "seconds": {}}
    labels = None
    if "labels" in checks:
        if predictions is None:
            raise ValueError("expected out-of-fold predictions for the check of labels, received none")
        labels = audit_labels(tracks, catalog.labels, predictions)
        findings += _label_findings(labels, tracks)
        summary["labels"] = _describe_labels(labels)
        _write_ranking(output_dir / "label_ranking.csv", labels)
    if "copies" in checks or "sound" in checks:
        began = time.monotonic()
        clips = analyse_clips(tracks["path"], output_dir, lambda items, total: progress(items, total, "clips"))
        summary["seconds"]["decoding, measures and fingerprints"] = round(time.monotonic() - began, 2)
        if "copies" in checks:
            began = time.monotonic()
            findings += find_pairs(tracks, clips)
            summary["seconds"]["comparing"] = round(time.monotonic() - began, 2)
        if "sound" in checks:
            findings += _sound_findings(tracks, clips)
    findings = sort_findings(findings)
    counts = Counter(finding.finding for finding in findings)
    summary["findings"] = {kind: counts[kind] for kind in KINDS if KINDS[kind].check in checks}
    write_findings(output_dir / "audit.csv", findings)
    write_text(output_dir / "audit.json", json.dumps(summary, indent=2) + "\n")
    return Audit(catalog, findings, labels, summary)


def format_audit(audit: Audit) -> str:
    """Counts what was found, as text for the terminal."""
    lines = [f"{audit.summary['clips']} clips"]
    for kind, count in audit.summary["findings"].items():
        if count:
            lines.append(f"{count:6} {kind}: {KINDS[kind].words}")
    if not audit.findings:
        lines.append("nothing was found")
    if audit.labels is not None:
        for row in audit.labels.noise.itertuples():
            lines.append(f"label {row.label}: {row.given_wrongly:.1%} of {row.clips} clips estimated to have another")
        for row in audit.labels.overlaps.head(3).itertuples():
            lines.append(f"taken for one another: {row.label} and {row.other} ({row.clips} clips)")
    return "\n".join(lines)


def _label_findings(labels: LabelAudit, tracks: pd.DataFrame) -> Iterator[Finding]:
    row_of = {row["path"]: row for row in tracks.to_dict("records")}
    for clip in labels.ranking[labels.ranking["is_suspect"]].to_dict("records"):
        row = row_of[clip["path"]]
        yield Finding(
            clip["path"],
            "wrong_label",
            1 - clip["quality"],
            track_id=str(row["track_id"]),
            label=clip["label"],
            likely_label=clip["likely_label"],
            split=row["split"],
            detail=f"labelled {clip['label']}; models that were not trained on it say {clip['likely_label']}",
        )


def _sound_findings(tracks: pd.DataFrame, clips: Sequence[ClipAnalysis]) -> Iterator[Finding]:
    lengths = [clip.measures.seconds for clip in clips if clip.measures]
    median_seconds = float(np.median(lengths)) if lengths else 0.0
    for row, clip in zip(tracks.to_dict("records"), clips, strict=True):
        names = {name: str(row[name]) for name in ("track_id", "label", "split")}
        if clip.measures is None:
            yield Finding(clip.path, "undecodable", 1.0, detail=clip.reason, **names)
            continue
        if clip.remark:
            yield Finding(clip.path, "remark", 1.0, detail=clip.remark, **names)
        for fault in find_sound_faults(clip.measures, median_seconds):
            yield Finding(clip.path, fault.finding, fault.score, detail=fault.detail, **names)


def _describe_labels(labels: LabelAudit) -> dict[str, Any]:
    return {
        "clips": len(labels.ranking),
        "clips_without_prediction": labels.left_out,
        "noise": labels.noise.round(4).to_dict("records"),
        "overlaps": labels.overlaps.round(4).to_dict("records"),
    }


def _write_ranking(path: Path, labels: LabelAudit) -> None:
    table = labels.ranking.rename(columns={"path": "clip"})
    write_rows(path, [str(name) for name in table.columns], table.to_numpy().tolist())
