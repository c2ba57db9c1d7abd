"""Record shards: TFRecord files that hold a data set's audio files, as they are, and its catalog.

Each record is a tf.train.Example with the features track_id, label, split, artist, album, title, path and audio (the
bytes of the file), which any program reads with tf.data.TFRecordDataset. Beside each shard is an index of where its
clips' bytes are, so that a clip, or the part of it that a crop needs, is read without the rest; and beside all of them a
manifest with their checksums. The shards hold the catalog's rows in its order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd

from pipeline.catalogs.catalog import COLUMNS, SPLITS, Catalog, CatalogError, make_catalog
from pipeline.storage.clips import RecordSpan
from pipeline.storage.files import file_size, is_file, join, read_file

MANIFEST_FILE = "manifest.json"
FORMAT, VERSION = "melstream records", 1
# Of an index; the last three are null for a file that could not be read when it was packed.
INDEX_COLUMNS = (*COLUMNS, "record", "skip", "length")
_NOT_PACKED = "not-packed.tfrecord"  # never exists: its clips are missing, as their files were
_READERS = 16


@dataclasses.dataclass(frozen=True)
class Shard:
    """A finished shard, as the manifest describes it.

    Attributes:
        file: its name.
        clips: number of rows of the catalog that it holds.
        bytes: its size.
        sha256: its checksum.
        index_sha256: that of its index.
    """

    file: str
    clips: int
    bytes: int
    sha256: str
    index_sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a directory of records holds.

    Attributes:
        source: where the clips came from, by name.
        catalog: its identity: labels, clips a split, and a digest of its rows.
        notes: the catalog's.
        shards: in order; None for those that are not finished.
    """

    source: dict[str, Any]
    catalog: dict[str, Any]
    notes: tuple[str, ...]
    shards: tuple[Shard | None, ...]

    def as_json(self) -> str:
        """The contents of manifest.json."""
        return json.dumps({"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"


def load_records(data_dir: str, genres: Sequence[str] = (), multi_label: bool = False) -> Catalog:
    """Loads the catalog that was packed, in its order; its paths name records in the shards.

    Args:
        data_dir: directory of records, local or any that tf.io.gfile reads.
        genres: labels to keep, whatever their case; empty means all.
        multi_label: whether a clip may have several labels; it has those with which it was packed.

    Returns:
        The catalog that was packed, but for its paths.

    Raises:
        CatalogError: there are no records, they are not finished, or a shard is not what the manifest says.

    Example:
        >>> from pipeline.catalogs.records import load_records
        >>> catalog = load_records(records_dir)
        >>> sorted(catalog.tracks["split"].unique())
        ['test', 'training', 'validation']
    """
    manifest, shards = read_finished(data_dir)
    with ThreadPoolExecutor(_READERS) as pool:  # for remote directories, where each file is a request
        indexes = list(pool.map(lambda shard: checked_index(data_dir, shard), shards))
    tracks = pd.DataFrame([row[: len(COLUMNS)] for index in indexes for row in index], columns=list(COLUMNS))
    tracks["path"] = [
        str(record_span(data_dir, shard, row)) for shard, index in zip(shards, indexes, strict=True) for row in index
    ]
    return make_catalog(tracks, genres, manifest.notes, multi_label)


def index_name(shard_file: str) -> str:
    """Name of the index of a shard."""
    return shard_file.removesuffix(".tfrecord") + ".json"


def catalog_identity(catalog: Catalog) -> dict[str, Any]:
    """What makes a catalog this one: its labels, clips a split, and a digest of all but where its files are."""
    digest = hashlib.sha256()
    for row in catalog.tracks[[name for name in COLUMNS if name != "path"]].itertuples(index=False):
        digest.update(json.dumps(list(row)).encode())
    counts = catalog.tracks["split"].value_counts()
    return {
        "labels": sorted(set(catalog.label_names(catalog.tracks))),
        "clips": {split: int(counts.get(split, 0)) for split in SPLITS},
        "sha256": digest.hexdigest(),
    }


def read_finished(data_dir: str) -> tuple[Manifest, list[Shard]]:
    """Reads the manifest of a directory whose shards are all there.

    Raises:
        CatalogError: there is none, it cannot be read, or the packing was not finished.
    """
    manifest = read_manifest(data_dir)
    if manifest is None:
        raise CatalogError(
            f"expected records ({MANIFEST_FILE} and shards) in {data_dir}, found none; check --data_dir, or pack some with "
            "pack_records"
        )
    shards = [shard for shard in manifest.shards if shard is not None]
    if len(shards) < len(manifest.shards):
        raise CatalogError(
            f"expected finished records in {data_dir}, found {len(shards)} of {len(manifest.shards)} shards; run the same "
            "pack_records command again to go on"
        )
    return manifest, shards


def read_manifest(data_dir: str) -> Manifest | None:
    """Reads a directory's manifest; None if it has none.

    Raises:
        CatalogError: it cannot be read, is no manifest, or is of another version.
    """
    path = join(data_dir, MANIFEST_FILE)
    try:
        if not is_file(path):
            return None
        values = json.loads(read_file(path))
        if values.pop("format") != FORMAT or values.pop("version") != VERSION:
            raise ValueError(f"not {FORMAT} of version {VERSION}")
        shards = tuple(Shard(**shard) if shard else None for shard in values.pop("shards"))
        return Manifest(**{**values, "notes": tuple(values["notes"])}, shards=shards)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogError(
            f"expected a manifest of {FORMAT}, version {VERSION}, at {path}, but it cannot be read: {error!r}; pack them "
            "anew with pack_records, into another directory"
        ) from error


def _read_index(data_dir: str, shard: Shard) -> list[list[Any]]:
    """Reads a shard's index: a row of `INDEX_COLUMNS` for each clip.

    Raises:
        CatalogError: it is missing, or not the one that was written with the shard.
    """
    path = join(data_dir, index_name(shard.file))
    try:
        data = read_file(path)
    except OSError as error:
        raise CatalogError(f"expected the index of a shard at {path}, but it cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != shard.index_sha256:
        raise CatalogError(f"expected {path} as it was packed, found another checksum; copy it again, or pack it again")
    return json.loads(data)["rows"]


def checked_index(data_dir: str, shard: Shard) -> list[list[Any]]:
    """Reads the index of a shard whose size is right."""
    path = join(data_dir, shard.file)
    try:
        size = file_size(path)
    except OSError as error:
        raise CatalogError(
            f"expected the shard {path}, but it cannot be read: {error}; copy or pack it again"
        ) from error
    if size != shard.bytes:
        raise CatalogError(
            f"expected {shard.bytes} bytes in {path}, found {size}; copy it again, or run its pack_records command again, "
            "which writes it anew"
        )
    return _read_index(data_dir, shard)


def record_span(data_dir: str, shard: Shard, row: Sequence[Any]) -> RecordSpan:
    """Reads where a clip's record is from its row of the shard's index.

    Returns:
        The span; of a clip that was not packed, a span in a shard that does not exist.
    """
    *_, record, skip, length = row
    original = row[COLUMNS.index("path")]
    if record is None:
        return RecordSpan(join(data_dir, _NOT_PACKED), 0, 0, 0, original)
    return RecordSpan(join(data_dir, shard.file), record, skip, length, original)
