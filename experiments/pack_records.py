"""Packs a data set's audio files, as they are, and its tables into record shards (TFRecord), for training elsewhere.

    python -m experiments.pack_records --dataset=fma --data_dir=/data/fma --subset=small --num_shards=16 \\
        --output_dir=/data/records
    python -m experiments.train --dataset=records --data_dir=/data/records

Nothing is decoded, so training gets the very crops that it would get from the files: a few large files are easier to copy
and to keep in a bucket (--output_dir=gs://...) than many small ones. An interrupted run goes on where it stopped; a file
whose size has changed since is packed again. --verify reads the shards and compares their checksums.
"""

from absl import flags

from experiments import console, settings_flags
from experiments.flag_types import define_number, define_path

settings_flags.define_flags("data")
_OUTPUT_DIR = define_path("output_dir", "data/records", "Where the shards are, or will be.")
_NUM_SHARDS = define_number(
    "num_shards", 16, "Number of shards; 100 MB to 1 GB a shard is usual.", minimum=1, limit=99_999
)
_VERIFY = flags.DEFINE_bool("verify", False, "Pack nothing: check what is in --output_dir.")
define_number("seed", 0, "Of the splits, where the data set gives none.", minimum=0, maximum=2**32 - 1)
# What decides which clips are packed.
_SOURCE = (
    *("dataset", "data_dir", "subset", "genres", "keep_known_bad_clips", "multi_label", "probe_csv"),
    *("exclude_csv", "relabel_csv", "seed"),
)


def main(argv: list[str]) -> None:
    del argv
    from experiments.builders.data import prepare
    from pipeline.catalogs.catalog import CatalogError
    from pipeline.catalogs.pack import pack_records, verify_records

    output_dir = _OUTPUT_DIR.value
    if _VERIFY.value:
        if problems := verify_records(output_dir, lambda items, total: console.progress(items, total, "shards")):
            raise CatalogError(
                f"expected the shards in {output_dir} as they were packed, found:\n  "
                + "\n  ".join(problems)
                + "\nCopy these again; or delete them, and the command that packed them writes them again."
            )
        print(f"{output_dir}: every shard is as it was packed")
        return
    values = settings_flags.settings_from_flags(flags.FLAGS)
    catalog, ledger = prepare(values, splits=())
    source = {name: getattr(values, name) for name in _SOURCE}
    manifest = pack_records(
        catalog,
        output_dir,
        _NUM_SHARDS.value,
        source,
        ledger,
        lambda items, total: console.progress(items, total, "packing", unit="clip"),
    )
    total = sum(shard.bytes for shard in manifest.shards if shard)
    print(f"{output_dir}: {len(catalog.tracks)} clips in {len(manifest.shards)} shards, {total / 1e6:,.1f} MB")
    for path, failure in ledger.failures.items():
        print(f"  left out: {path}: {failure.reason}")


if __name__ == "__main__":
    console.run(main)
