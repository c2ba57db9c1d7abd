"""How fast a data service on this machine delivers crops, against decoding in one process, and what kills cost.

    python tests/benchmark_service.py --folder=/data/music [--decoder=NAME] [--rounds=3] [--kills]

Not part of the tests. Crops of 5 s at 22,050 Hz in batches of 16, through `train_dataset`; all processes share the cores.
Rounds are taken in turn; the table gives medians. With --kills, an epoch during which a worker, or the dispatcher, is
killed by -9; a step of training that takes `--step_seconds` is waited for.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.dataset import train_dataset
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER
from pipeline.failures import FailureLedger
from pipeline.service import servers
from pipeline.service.client import check_service, service_delivery

BATCH_SIZE = 16


def one_pass(
    paths: Sequence[str], args: argparse.Namespace, epoch: int, address: str, at_step: Callable[[int], object]
) -> tuple[float, float, int]:
    """Returns the seconds until the first batch, the seconds after it and the crops after it."""
    ledger = FailureLedger(len(paths), 1.0)
    began, first, crops = time.monotonic(), 0.0, 0
    dataset = train_dataset(
        paths,
        [0] * len(paths),
        ledger,
        crops_per_clip=args.crops_per_clip,
        batch_size=BATCH_SIZE,
        epoch=epoch,
        decoder=args.decoder,
        delivery=service_delivery(address, lambda text: print(f"  {text}")) if address else None,
    )
    for step, batch in enumerate(dataset):
        if step == 0:
            first = time.monotonic()
        else:
            crops += len(batch[0])
        at_step(step)
    return first - began, time.monotonic() - first, crops


def start(stack: ExitStack, workers: int) -> tuple[str, servers.Supervisor]:
    """Starts a dispatcher and workers; returns the address and their supervisor."""
    port, *ports = servers.free_ports(1 + workers)
    journal = stack.enter_context(servers.journal_dir(""))
    processes = [servers.Dispatcher(port, journal), *(servers.Worker(each, f"localhost:{port}") for each in ports)]
    supervisor = stack.enter_context(servers.Supervisor(processes, lambda text: print(f"  {text}")))
    address = f"grpc://localhost:{port}"
    check_service(address, timeout_seconds=300)
    return address, supervisor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="MP3s, at any depth")
    parser.add_argument("--decoder", default=DEFAULT_DECODER, choices=DECODERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crops_per_clip", type=int, default=8)
    parser.add_argument("--kills", action="store_true")
    parser.add_argument("--step_seconds", type=float, default=0.25)
    args = parser.parse_args()
    paths = sorted(str(path) for path in Path(args.folder).rglob("*.mp3"))
    with ExitStack() as stack:
        services = {"local": ("", None), "one worker": start(stack, 1), "two workers": start(stack, 2)}
        time.sleep(10)  # until every worker has found its dispatcher
        if args.kills:
            address, supervisor = services["two workers"]
            for killed, name in enumerate(["nobody", "the dispatcher", "a worker"], start=-1):

                def at_step(step: int, killed: int = killed) -> None:
                    time.sleep(args.step_seconds)
                    if step == 5 and killed >= 0:
                        os.kill(supervisor.pids()[killed], signal.SIGKILL)

                _, seconds, crops = one_pass(paths, args, 0, address, at_step)
                print(f"killed: {name}: {crops} crops in {seconds:.1f} s", flush=True)
                time.sleep(10)
            return
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in services}
        for turn in range(args.rounds + 1):
            for name, (address, _) in services.items():
                first, seconds, crops = one_pass(paths, args, turn, address, lambda step: None)
                if turn:  # the first round warms up
                    results[name].append((first, crops / seconds))
    for name, figures in results.items():
        first, rate = (statistics.median(column) for column in zip(*figures, strict=True))
        shown = " ".join(f"{each:.0f}" for _, each in figures)
        print(f"{name}: {rate:.0f} crops/s ({shown}), first batch after {first:.2f} s")


if __name__ == "__main__":
    main()
