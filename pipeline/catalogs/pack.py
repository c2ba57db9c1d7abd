"""Packing a catalog and its audio files into record shards, and checking shards against their checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pandas as pd
import tensorflow as tf

from pipeline.catalogs.catalog import COLUMNS, Catalog, CatalogError
from pipeline.catalogs.records import (
    INDEX_COLUMNS,
    MANIFEST_FILE,
    Manifest,
    Shard,
    catalog_identity,
    checked_index,
    index_name,
    read_finished,
    read_manifest,
    record_span,
)
from pipeline.failures import FailureLedger
from pipeline.storage.atomic import atomic_write, write_file
from pipeline.storage.clips import RECORD_HEADER_BYTES, clip_size, read_clip
from pipeline.storage.files import hash_file, join, make_folder, os_errors
from pipeline.storage.record_ops import read_record

_RECORD_FOOTER_BYTES = 4  # its data's checksum
_MAX_CLIP_BYTES = (1 << 31) - (1 << 20)  # a protocol buffer ends at 2 GiB

Progress = Callable[[Iterable, int], Iterable]
IndexRow = list[Any]  # of INDEX_COLUMNS


class PackError(ValueError):
    """Records that cannot be written where they should be."""


def pack_records(
    catalog: Catalog,
    output_dir: str,
    num_shards: int = 16,
    source: dict[str, Any] | None = None,
    ledger: FailureLedger | None = None,
    progress: Progress = lambda items, total: items,
) -> Manifest:
    """Packs a catalog's files into shards; goes on where an earlier call was interrupted.

    A finished shard is kept if it is there in the size that the manifest says, and its files still have the sizes that
    they had. Everything is written under a temporary name first.

    Args:
        catalog: the clips, in the order that their records will have.
        output_dir: directory of the shards, local or any that tf.io.gfile writes.
        num_shards: number of shards, each with as many clips.
        source: where the clips come from, by name; for people, and for the message about other records.
        ledger: where files that cannot be read are recorded; they have rows in the index, but no records. Left out, a
            new one, which lets one file in a hundred fail.
        progress: wraps the iterable of clips and its length, for a progress bar.

    Returns:
        The manifest.

    Raises:
        CatalogError: the directory holds records of something else, or the number of shards does not fit.
        FailureBudgetError: too many files cannot be read.
        PackError: a shard cannot be written, such as on a full disk.
    """
    if not 1 <= num_shards <= len(catalog.tracks):
        raise CatalogError(f"expected num_shards from 1 to {len(catalog.tracks)} (the clips), received {num_shards}")
    manifest = Manifest(source or {}, catalog_identity(catalog), catalog.notes, (None,) * num_shards)
    earlier = read_manifest(output_dir)
    if earlier is not None:
        if differing := _differences(earlier, manifest):
            raise CatalogError(
                f"expected {output_dir} to hold records of this catalog, or none; found others:\n  "
                + "\n  ".join(differing)
                + "\nUse the earlier flags to go on with these, or another --output_dir."
            )
        manifest = earlier
    packing = _Packing(catalog.tracks, output_dir, manifest, ledger or FailureLedger(len(catalog.tracks)))
    for _ in progress(packing.run(), len(catalog.tracks)):
        pass
    return packing.manifest


def verify_records(output_dir: str, progress: Progress = lambda items, total: items) -> list[str]:
    """Reads all shards and compares their checksums.

    Args:
        output_dir: directory of finished records.
        progress: wraps the iterable of shards and its length, for a progress bar.

    Returns:
        One sentence for each shard that is not as it was packed; it names the files whose records are damaged.

    Raises:
        CatalogError: there are no finished records.
    """
    _, shards = read_finished(output_dir)
    problems = []
    for shard in progress(shards, len(shards)):
        path = join(output_dir, shard.file)
        try:
            index = checked_index(output_dir, shard)
            if hash_file(path)[1] != shard.sha256:
                spans = [record_span(output_dir, shard, row) for row in index]
                damaged = [span.original for span in spans if span.length and not _is_intact(str(span))]
                problems.append(f"{path} has another checksum; damaged clips: {', '.join(damaged) or 'none'}")
        except (CatalogError, OSError) as error:
            problems.append(str(error))
    return problems


class _Packing:
    """One call of `pack_records`, shard by shard."""

    def __init__(self, tracks: pd.DataFrame, output_dir: str, manifest: Manifest, ledger: FailureLedger):
        self.manifest = manifest
        self._tracks, self._output_dir, self._ledger = tracks, output_dir, ledger

    def run(self) -> Generator[None]:
        """Packs all shards; yields after each clip."""
        total, clips = len(self.manifest.shards), len(self._tracks)
        for i in range(total):
            tracks = self._tracks.iloc[i * clips // total : (i + 1) * clips // total]
            if self._is_kept(self.manifest.shards[i], tracks):
                yield from (None for _ in range(len(tracks)))
                continue
            name = f"records-{i:05d}-of-{total:05d}.tfrecord"
            try:
                make_folder(self._output_dir)
                self._put(i, None)  # before an earlier shard of that name is replaced
                self._put(i, (yield from self._write(name, tracks)))
            except OSError as error:  # of the output: those of the clips are in the ledger
                done = sum(shard is not None for shard in self.manifest.shards)
                raise PackError(
                    f"expected to write {join(self._output_dir, name)}, but: {error}. The {done} of {total} shards that "
                    "are finished are unharmed. Make room there, and the same command goes on with the others; or "
                    "choose another --output_dir"
                ) from error

    def _put(self, i: int, shard: Shard | None) -> None:
        shards = list(self.manifest.shards)
        shards[i] = shard
        self.manifest = dataclasses.replace(self.manifest, shards=tuple(shards))
        write_file(join(self._output_dir, MANIFEST_FILE), self.manifest.as_json().encode())

    def _is_kept(self, shard: Shard | None, tracks: pd.DataFrame) -> bool:
        if shard is None:
            return False
        try:
            index = checked_index(self._output_dir, shard)
        except CatalogError:
            return False
        return [row[-1] for row in index] == [_size_or_none(path) for path in tracks["path"]]

    def _write(self, name: str, tracks: pd.DataFrame) -> Generator[None, None, Shard]:
        """Writes a shard and its index; yields after each clip."""
        path, index_path = join(self._output_dir, name), join(self._output_dir, index_name(name))
        rows: list[IndexRow] = []
        with atomic_write(path) as temporary:
            position = 0
            with os_errors(), tf.io.TFRecordWriter(temporary) as writer:
                for track in tracks[list(COLUMNS)].itertuples(index=False, name=None):
                    columns: dict[str, Any] = dict(zip(COLUMNS, track, strict=True))
                    audio = self._read(columns["path"])
                    if audio is None:
                        rows.append([*track, None, None, None])
                    else:
                        record = _serialize(columns, audio)
                        writer.write(record)
                        # Where the same bytes occur twice in a record, either position is right.
                        rows.append([*track, position, RECORD_HEADER_BYTES + record.index(audio), len(audio)])
                        position += RECORD_HEADER_BYTES + len(record) + _RECORD_FOOTER_BYTES
                    yield
            size, sha256 = hash_file(temporary)  # of what was written, not of what should have been
            if size != position:
                raise OSError(f"found {size} bytes after writing {position}")
        index = json.dumps({"columns": INDEX_COLUMNS, "rows": rows}).encode()
        write_file(index_path, index)
        return Shard(name, len(rows), size, sha256, hashlib.sha256(index).hexdigest())

    def _read(self, path: str) -> bytes | None:
        """A clip's bytes; None, and a line in the ledger, if it cannot be read."""
        try:
            if clip_size(path) > _MAX_CLIP_BYTES:
                raise OSError("larger than a record may be (2 GiB)")
            return read_clip(path)
        except FileNotFoundError:
            self._ledger.record(path, "file not found", occurrences=0)
        except OSError as error:
            self._ledger.record(path, f"cannot be read: {error}", occurrences=0)
        return None


def _serialize(columns: dict[str, Any], audio: bytes) -> bytes:
    """A record: a tf.train.Example of a clip's columns and bytes."""
    features = {"audio": tf.train.Feature(bytes_list=tf.train.BytesList(value=[audio]))}
    for name, value in columns.items():
        if isinstance(value, int):
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        else:
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[os.fsencode(value)]))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _differences(old: Manifest, new: Manifest) -> list[str]:
    """One line for each way in which the records of two manifests differ."""
    lines = []
    if len(old.shards) != len(new.shards):
        lines.append(f"shards: {len(old.shards)} there, {len(new.shards)} now")
    if old.catalog != new.catalog:
        lines += [
            f"{name}: {old.catalog.get(name)} there, {new.catalog[name]} now"
            for name in ("labels", "clips")
            if old.catalog.get(name) != new.catalog[name]
        ] or ["other tracks, labels, splits, artists, albums or titles, or in another order"]
        lines += [
            f"{name}: {old.source.get(name)!r} there, {new.source.get(name)!r} now"
            for name in sorted({*old.source, *new.source})
            if old.source.get(name) != new.source.get(name)
        ]
    return lines


def _is_intact(path: str) -> bool:
    try:
        read_record(tf.constant(os.fsencode(path)))
    except tf.errors.OpError:
        return False
    return True


def _size_or_none(path: str) -> int | None:
    try:
        return clip_size(path)
    except OSError:
        return None
