"""Runs the project's scripts without waiting for TensorFlow's import each time.

A process that has imported it forks itself for each script. A script so has the order of sets and the variables that
libraries read at their import in common with the others; where that matters, start it by `subprocess`.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_SECONDS = 300
_servers: list[subprocess.Popen] = []


def run_preloaded(module: str, flags: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a module as a script, as `subprocess.run` would with captured output."""
    if not _servers:
        _servers.append(
            subprocess.Popen([sys.executable, __file__], cwd=ROOT, stdin=-1, stdout=-1, text=True, env=_environment())
        )
        atexit.register(_servers[0].kill)
    server = _servers[0]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        order = [module, flags, str(cwd), _environment(), [str(path) for path in outputs]]
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, "the process that forks scripts has ended"
        status = int(answer)
        texts = [path.read_text(errors="surrogateescape") for path in outputs]
    if status == -signal.SIGALRM:
        raise subprocess.TimeoutExpired([module, *flags], TIMEOUT_SECONDS, *texts)
    return subprocess.CompletedProcess([module, *flags], status, *texts)


def _environment() -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": str(ROOT)}


def _serve() -> None:
    import keras  # noqa: F401

    for module in ("keras", "matplotlib.pyplot", "pandas", "sklearn", "tensorflow"):
        import_module(module)
    gc.freeze()  # for children that end at once
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(*json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(module: str, flags: list[str], cwd: str, environment: dict[str, str], outputs: list[str]) -> None:
    signal.alarm(TIMEOUT_SECONDS)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    import_module("numpy.random").seed()  # the state of the parent would be every script's
    sys.path[0] = cwd
    sys.argv[1:] = flags
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    _serve()
