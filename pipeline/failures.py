"""The ledger of files that could not be decoded, and the budget past which a run stops."""

from __future__ import annotations

import dataclasses
import math
import threading


class FailureBudgetError(ValueError):
    """More files failed than `max_failure_rate` allows."""


@dataclasses.dataclass
class Failure:
    """Why a file was skipped, and how many of its crops were asked for in vain."""

    reason: str
    occurrences: int = 1


class FailureLedger:
    """Names and counts the files that a run skips. Safe to use from several threads.

    Args:
        total_files: number of files in the run, of which `max_failure_rate` is a share.
        max_failure_rate: largest share of files, 0...1, that may be skipped.
    """

    def __init__(self, total_files: int, max_failure_rate: float = 0.01):
        if not 0 <= max_failure_rate <= 1:
            raise ValueError(f"expected max_failure_rate between 0 and 1, received {max_failure_rate}")
        self.total_files = total_files
        self.max_failure_rate = max_failure_rate
        self._failures: dict[str, Failure] = {}
        self._lock = threading.Lock()

    @property
    def failures(self) -> dict[str, Failure]:
        """A copy: path to failure, in order of path."""
        with self._lock:
            return {path: dataclasses.replace(self._failures[path]) for path in sorted(self._failures)}

    def record(self, path: str, reason: str, occurrences: int = 1) -> None:
        """Adds a failed file, or another failure of one that is already known; the first reason stands.

        Raises:
            FailureBudgetError: this file is one too many.
        """
        with self._lock:
            if path in self._failures:
                self._failures[path].occurrences += occurrences
            else:
                self._failures[path] = Failure(reason, occurrences)
        self.check()

    def check(self) -> None:
        """Raises FailureBudgetError if more files failed than the budget allows."""
        allowed = math.floor(self.max_failure_rate * self.total_files + 1e-9)
        with self._lock:
            # No copy of many failures for each new one.
            failed = list(self._failures.items()) if len(self._failures) > allowed else []
        if failed:
            shown = "\n".join(f"  {path}: {failure.reason}" for path, failure in failed[:10])
            more = f"\n  and {len(failed) - 10} more" if len(failed) > 10 else ""
            raise FailureBudgetError(
                f"expected at most {allowed} undecodable files of {self.total_files} "
                f"(max_failure_rate={self.max_failure_rate:g}), found {len(failed)}:\n{shown}{more}\n"
                "Repair or remove them, leave them out with a probe file, or raise --max_failure_rate."
            )
