"""The ledger of files that could not be decoded, or not in full, and the budget past which a run stops."""

from __future__ import annotations

import dataclasses
import math
import threading


class FailureBudgetError(ValueError):
    """More files failed than `max_failure_rate` allows."""


@dataclasses.dataclass
class Failure:
    """Why a file was skipped.

    Attributes:
        reason: why it could not be decoded, in words.
        occurrences: how many of its crops are missing.
    """

    reason: str
    occurrences: int = 1


class FailureLedger:
    """Records the files that a run skips. Several threads may use a ledger at once.

    Args:
        total_files: number of files in the run.
        max_failure_rate: the largest share of these files, 0...1, that may be skipped.

    Raises:
        ValueError: `max_failure_rate` is out of its range.

    Example:
        >>> ledger = FailureLedger(total_files=100, max_failure_rate=0.02)
        >>> ledger.record("music/broken.mp3", "not recognised as audio")
        >>> ledger.failures
        {'music/broken.mp3': Failure(reason='not recognised as audio', occurrences=1)}
    """

    def __init__(self, total_files: int, max_failure_rate: float = 0.01):
        if not 0 <= max_failure_rate <= 1:
            raise ValueError(f"expected max_failure_rate between 0 and 1, received {max_failure_rate}")
        self.total_files = total_files
        self.max_failure_rate = max_failure_rate
        self._failures: dict[str, Failure] = {}
        self._remarks: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def failures(self) -> dict[str, Failure]:
        """A copy of the failures by path, in order of path."""
        with self._lock:
            return {path: dataclasses.replace(self._failures[path]) for path in sorted(self._failures)}

    @property
    def remarks(self) -> dict[str, str]:
        """A copy of the remarks on files that could be decoded, by path, in order of path."""
        with self._lock:
            return {path: self._remarks[path] for path in sorted(self._remarks) if path not in self._failures}

    def remark(self, path: str, text: str) -> None:
        """Notes what the user should know of a file that can be decoded, such as that a part of it is not used.

        A remark does not count against the budget.

        Args:
            path: the file.
            text: the remark.
        """
        with self._lock:
            self._remarks[path] = text

    def record(self, path: str, reason: str, occurrences: int = 1) -> None:
        """Records a failed file; of a file that failed before, adds the occurrences and keeps the first reason.

        Args:
            path: the file.
            reason: why it could not be decoded.
            occurrences: how many of its crops are missing because of this failure.

        Raises:
            FailureBudgetError: more files failed than the budget allows.
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
            # Copied only when it is needed: a run may have many failures.
            failed = list(self._failures.items()) if len(self._failures) > allowed else []
        if failed:
            shown = "\n".join(f"  {path}: {failure.reason}" for path, failure in failed[:10])
            more = f"\n  and {len(failed) - 10} more" if len(failed) > 10 else ""
            raise FailureBudgetError(
                f"expected at most {allowed} undecodable files of {self.total_files} "
                f"(max_failure_rate={self.max_failure_rate:g}), found {len(failed)}:\n{shown}{more}\n"
                "Repair or remove them, leave them out with a probe file, or raise max_failure_rate "
                "(--max_failure_rate)."
            )
