"""Tries mutated inputs on everything that reads files of others, and says what came of it.

    make fuzz                                                     # every target, as many inputs as it asks for
    PYTHONPATH=.:tests python -m fuzz --target=mp3_headers --inputs=1000 --seed=7
    PYTHONPATH=.:tests python -m fuzz --target=decode_tfio --input=fuzz_failures/decode_tfio-0-17.bin

The same seed makes the same inputs. An input that fails is saved in --failures_dir, beside what happened; with --input
it is tried again in this process, whose traceback or debugger then shows where. Once mended, something of its kind belongs
into tests/test_fuzz.py, which is part of `make test`. Exit status 1: something failed.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from support.tensorflow_io import HAS_TENSORFLOW_IO
from tqdm import tqdm

from fuzz.registry import TARGETS
from fuzz.runner import run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--inputs", type=int, help="how many a target; default: as many as it asks for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--hang_seconds", type=float, default=10.0, help="what one input may take")
    parser.add_argument("--failures_dir", type=Path, default=Path("fuzz_failures"))
    parser.add_argument("--input", type=Path, help="try this file alone, in this process, with one --target")
    options = parser.parse_args()
    names = options.target or [name for name, target in TARGETS.items() if target.inputs]
    if "decode_tfio" in names and not HAS_TENSORFLOW_IO:
        print("decode_tfio: left out, tensorflow-io has no release for this Python")
        names.remove("decode_tfio")
    if options.input:
        if len(names) != 1:
            parser.error("expected one --target beside --input")
        os.environ.update(TARGETS[names[0]].environment)
        with tempfile.TemporaryDirectory() as folder:
            print(f"ended as: {TARGETS[names[0]].prepare(Path(folder)).check(options.input.read_bytes())}")
        return 0
    failed = False
    for name in names:
        inputs = TARGETS[name].inputs if options.inputs is None else options.inputs
        with tqdm(total=inputs, desc=name, unit="input", mininterval=2, disable=None) as bar:
            report = run(
                name, inputs, options.seed, options.failures_dir, options.workers, options.hang_seconds, bar.update
            )
        print(report.describe(), flush=True)
        for failure in report.failures:
            print(f"  {failure.file}: {failure.kind}: {failure.detail.strip().splitlines()[-1][:150]}")
        failed |= bool(report.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
