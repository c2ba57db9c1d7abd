"""The players of an audit's page whose clips are in a record shard, and so have no file to point at."""

import re
from pathlib import Path

import pandas as pd
import pytest
from support.browser import CHROMIUM, open_page

from experiments.audit.audit import Audit
from experiments.audit.findings import Finding
from experiments.reporting import audit_page
from experiments.reporting.addresses import embedded_url
from pipeline.catalogs.catalog import make_catalog
from pipeline.storage.clips import RecordSpan


@pytest.fixture
def audit(clips, tmp_path: Path) -> Audit:
    """Of four clips in a shard: each but the last is a copy of the last, and the first has another fault."""
    shard, paths, contents = tmp_path / "records-00000-of-00001.tfrecord", [], b""
    for path in clips[:4]:
        data = path.read_bytes()
        paths.append(str(RecordSpan(str(shard), len(contents), 0, len(data), str(path))))
        contents += data
    shard.write_bytes(contents)
    rows = [(path, label, "training", i) for i, (path, label) in enumerate(zip(paths, "xyxy", strict=True))]
    catalog = make_catalog(pd.DataFrame(rows, columns=["path", "label", "split", "track_id"]), (), (), False)
    findings = [Finding(paths[0], "silent", 90.0, detail="still")]
    findings += [Finding(path, "copy", 0.5, paths[3]) for path in paths[:3]]
    summary = {"clips": 4, "checks": ["copies", "sound"], "findings": {"silent": 1, "copy": 3}}
    return Audit(catalog, findings, None, summary)


def test_each_sound_is_embedded_once_and_played_wherever_its_clip_is(audit, tmp_path: Path):
    page = audit_page.write_audit_page(audit, tmp_path)
    html = page.read_text(encoding="utf-8")
    for path in audit.catalog.tracks["path"]:
        assert html.count(embedded_url(path)) == 1
    assert html.count("<audio") == 7 and html.count("data-source=") == 3  # the partner twice again, and the silent clip
    if CHROMIUM is None:
        return
    with open_page(tmp_path / "profile") as browser:
        browser.load(page, width=1280)
        played = browser.run("[...document.querySelectorAll('.heard')].map((e) => e.querySelector('audio').src)")
        clips = browser.run("[...document.querySelectorAll('.heard .path')].map((e) => e.textContent)")
        assert browser.complaints == []
    assert played == [embedded_url(path) for path in clips] and len(set(played)) == 4


def test_a_page_holds_so_much_sound_and_no_more(audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = audit.catalog.tracks["path"].tolist()
    first, last = embedded_url(paths[0]), embedded_url(paths[3])
    monkeypatch.setattr(audit_page, "MOST_EMBEDDED_BYTES", len(first) + len(last))
    html = audit_page.write_audit_page(audit, tmp_path).read_text(encoding="utf-8")
    assert sum(map(len, re.findall(r'src="(data:audio[^"]*)"', html))) == len(first) + len(last)
    assert html.count("No player: this page holds") == 2 and html.count("<audio") == 5
    assert all(Path(path).name in html for path in paths)


def test_a_shard_that_cannot_be_read_leaves_the_page_without_players(audit, tmp_path: Path):
    (tmp_path / "records-00000-of-00001.tfrecord").unlink()
    html = audit_page.write_audit_page(audit, tmp_path).read_text(encoding="utf-8")
    assert "<audio" not in html and html.count("No player: its shard cannot be read (") == 7
