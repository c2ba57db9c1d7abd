"""An audit from the command to the page, and from what is chosen there to a training; and its findings in a report."""

import csv
import dataclasses
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import numpy as np
import pandas as pd
import pytest
from support.browser import CHROMIUM, open_page
from support.scripts import as_flags, run_script

from experiments.audit.findings import COLUMNS, KINDS, clip_anchor, read_findings
from experiments.builders.data import load_catalog
from experiments.reporting.badges import find_badges
from experiments.settings import Settings

pytestmark = pytest.mark.slow

HOSTILE = b'</article><script>hacked = 1</script> "quoted", caf\xe9 #1 50%.mp3'.replace(b"/", b"\xe2\x88\x95")


class Parsed(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def data_set(small_fma, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's clips as folders, with a copy in another split, a silent file and a broken one of hostile names."""
    root = tmp_path_factory.mktemp("audited") / "music"
    catalog = load_catalog(Settings(dataset="fma", data_dir=str(small_fma)))
    for row in catalog.tracks.itertuples():
        if Path(row.path).stat().st_size > 1000:
            (root / row.split / row.label).mkdir(parents=True, exist_ok=True)
            shutil.copy(row.path, root / row.split / row.label)
    copied = min((root / "training" / "Rock").iterdir())
    shutil.copy(copied, root / "test" / "Hip-Hop" / "again.mp3")
    Path(os.fsdecode(os.fsencode(root / "training" / "Rock") + b"/" + HOSTILE)).write_bytes(b"no audio" * 100)
    return root


@pytest.fixture(scope="module")
def audited(data_set, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its audit, by the command, with probabilities that contradict the label of one clip."""
    output = tmp_path_factory.mktemp("audit") / "out"
    catalog = load_catalog(Settings(dataset="folders", data_dir=str(data_set)))
    rng = np.random.default_rng(0)
    labels = list(catalog.labels)
    says = [*catalog.tracks["label"]]
    wrong = says.index("Instrumental")
    says[wrong] = "Rock"
    shares = np.array([[0.9 if label == said else 0.05 for label in labels] for said in says])
    shares += rng.uniform(0, 0.01, shares.shape)
    shares /= shares.sum(axis=1, keepdims=True)
    table = pd.DataFrame(shares, columns=[f"probability_{label}" for label in labels])
    table.insert(0, "path", catalog.tracks["path"].to_numpy())
    table.to_csv(output.parent / "p.csv", index=False, errors="surrogateescape")
    flags = as_flags(
        dataset="folders", data_dir=data_set, output_dir=output, label_probabilities=output.parent / "p.csv"
    )
    result = run_script("audit_data", *flags)
    assert "2 undecodable: cannot be decoded" in result.stdout
    again = run_script("audit_data", *flags)
    assert again.stdout == result.stdout
    return output


def test_the_table_names_what_was_planted(audited, data_set):
    findings = read_findings(audited / "audit.csv")
    found = {(f.finding, os.path.relpath(f.clip, data_set).rpartition("/")[0]) for f in findings}
    assert {("undecodable", "training/Rock"), ("leak", "training/Rock"), ("other_label", "training/Rock")} <= found
    assert [f.likely_label for f in findings if f.finding == "wrong_label" and f.label == "Instrumental"] == ["Rock"]
    with open(audited / "audit.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert next(csv.reader(file))[:4] == ["clip", "finding", "score", "partner"] == list(COLUMNS[:4])
    order = [list(KINDS).index(f.finding) for f in findings]
    assert order == sorted(order)


def test_the_page_plays_and_hostile_names_do_nothing(audited, data_set):
    page = (audited / "audit.html").read_text(encoding="utf-8")
    parsed = Parsed(page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert "hacked" not in script and len(parsed.all("script")) == 1
    heard = set()
    for player in parsed.all("audio"):
        url = urlsplit(urljoin((audited / "audit.html").as_uri(), player["src"]))
        heard.add(os.fsdecode(unquote_to_bytes(url.path)))
    findings = read_findings(audited / "audit.csv")
    played = {path for f in findings if f.finding != "undecodable" for path in (f.clip, f.partner) if path}
    assert played <= heard and all(Path(path).is_file() for path in heard)
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {clip_anchor(path) for f in findings for path in (f.clip, f.partner) if path} <= set(ids)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_what_is_chosen_is_saved_and_corrects_a_data_set(audited, data_set, tmp_path: Path):
    with open_page(tmp_path / "profile") as page:
        for width in (1280, 400):
            page.load(audited / "audit.html", width=width)
            assert page.run("document.documentElement.scrollWidth") <= width
        # What the page saves, read back in the page itself.
        page.run(
            "URL.createObjectURL = (blob) => { last = blob; return '#'; }; HTMLAnchorElement.prototype.click = () => {};"
        )
        page.run("document.querySelectorAll('.exclude').forEach((box) => box.click())")
        page.run("document.querySelector('.relabel').click()")
        for kind in ("exclude", "relabel"):
            page.run(f"document.getElementById('save-{kind}').click()")
            data = page.run("last.arrayBuffer().then((buffer) => [...new Uint8Array(buffer)])")
            (tmp_path / f"{kind}.csv").write_bytes(bytes(data))
        assert page.run("typeof hacked") == "undefined" and page.complaints == []
    findings = read_findings(audited / "audit.csv")
    relabelled = read_findings(tmp_path / "relabel.csv")
    assert [f.finding for f in relabelled] == ["wrong_label"]
    chosen = read_findings(tmp_path / "exclude.csv")
    assert set(chosen) | set(relabelled) == set(findings)
    paths = {
        "exclude_csv": str(tmp_path / "exclude.csv"),
        "relabel_csv": str(tmp_path / "relabel.csv"),
    }
    plain = Settings(dataset="folders", data_dir=str(data_set))
    before = load_catalog(plain).tracks.set_index("path")
    after = load_catalog(dataclasses.replace(plain, **paths)).tracks.set_index("path")
    assert set(before.index) - set(after.index) == {f.clip for f in chosen}
    (relabel,) = relabelled
    assert after.loc[relabel.clip, "label"] == relabel.likely_label != before.loc[relabel.clip, "label"]


def test_a_report_shows_the_findings_of_its_clips(small_run, tmp_path: Path):
    table = pd.read_csv(small_run / "predictions.csv").query("split == 'test'")
    first, second = table["path"].iloc[:2]
    rows = [
        ["elsewhere.mp3", "leak", "0.5", first, "in training, its partner in test"],
        [second, "silent", "90", "", "<b>"],
    ]
    lines = pd.DataFrame(rows, columns=["clip", "finding", "score", "partner", "detail"])
    (tmp_path / "audit").mkdir()
    lines.to_csv(tmp_path / "audit" / "audit.csv", index=False)
    (tmp_path / "audit" / "audit.html").touch()
    output = tmp_path / "report.html"
    shown = run_script(
        "report", *as_flags(run_dir=small_run, output=output, audit_csv=tmp_path / "audit" / "audit.csv")
    )
    assert "2 of them have findings of" in shown.stdout
    page = output.read_text(encoding="utf-8")
    links = [a["href"] for a in Parsed(page).all("a") if a.get("class") == "finding"]
    assert sorted(links) == sorted(f"audit/audit.html#{clip_anchor(path)}" for path in (first, second))
    assert "a copy in another split" in page and 'title="&lt;b&gt;"' in page
    with pytest.raises(ValueError, match="expected an audit's table at"):
        find_badges(tmp_path / "none.csv", tmp_path)
