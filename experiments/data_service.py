"""Decodes training crops for `train --data_service`, with as many processes and machines as there are: a tf.data service.

    # on one machine; on each that decodes; on the one that trains
    python -m experiments.data_service --role=dispatcher --port=5050 --work_dir=/var/lib/melstream
    python -m experiments.data_service --role=worker --dispatcher=HOST:5050 --workers=2
    python -m experiments.train --dataset=fma --data_dir=/data/fma --data_service=grpc://HOST:5050

The command watches the processes that it starts: one that is killed is started again on its port, and a dispatcher then
goes on from its journal. Ctrl-C or SIGTERM ends them all. Music must have the same paths on the workers as for `train`,
and the trainer must reach the workers' ports too. Run the same version of this project and of its packages everywhere:
the trainer decodes itself, and says so, what a worker of another version would decode. A worker decodes with all cores,
by the decoder that `train` names; a second one is there when the first restarts. Nothing is encrypted, and whoever can
connect can read the workers' files and more: trusted networks only.
"""

import contextlib
import signal
import socket
import sys

from absl import flags

from experiments import console
from experiments.flag_types import define_number, define_path

_LAST_PORT = 65_535
_ROLE = flags.DEFINE_enum("role", None, ("dispatcher", "worker"), "dispatcher: one; worker: any number.", required=True)
_PORT = define_number(
    "port",
    0,
    "Port of the dispatcher (default 5050), or of the first of this machine's workers, the others following it (default: "
    "free ones).",
    minimum=0,
    maximum=_LAST_PORT,
)
_DISPATCHER = flags.DEFINE_string("dispatcher", "", "worker: the dispatcher's host:port.")
_WORKERS = define_number("workers", 1, "worker: how many to run on this machine.", minimum=1, limit=1024)
_HOST = flags.DEFINE_string(
    "host",
    "",
    "worker: name or address under which trainers reach this machine. Default: its own name, or localhost beside a "
    "dispatcher on localhost.",
)
_WORK_DIR = define_path(
    "work_dir",
    "",
    "dispatcher: folder of its journal, from which it goes on after a restart. Default: a temporary one, which serves "
    "as long as this command runs.",
)


def main(argv: list[str]) -> None:
    del argv
    from pipeline.service import servers as service  # TensorFlow takes seconds to import: not before --help

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    servers: list[service.Dispatcher | service.Worker]
    with contextlib.ExitStack() as stack:
        if _ROLE.value == "dispatcher":
            port = _PORT.value or 5050
            servers = [service.Dispatcher(port, stack.enter_context(service.journal_dir(_WORK_DIR.value)))]
            print(f"train with --data_service=grpc://{socket.gethostname()}:{port}", flush=True)
        else:
            host, colon, port_text = _DISPATCHER.value.rpartition(":")
            if not colon or not port_text.isdecimal() or not 1 <= int(port_text) <= _LAST_PORT:
                raise ValueError(
                    f"expected --dispatcher=host:port with a port between 1 and {_LAST_PORT}, received "
                    f"{_DISPATCHER.value!r}"
                )
            if _PORT.value + _WORKERS.value - 1 > _LAST_PORT:
                raise ValueError(
                    f"expected a port of at most {_LAST_PORT} for each of {_WORKERS.value} workers, received "
                    f"--port={_PORT.value}; choose another --port"
                )
            own_name = _HOST.value or ("localhost" if host in ("localhost", "127.0.0.1", "[::1]") else socket.getfqdn())
            ports = service.free_ports(_WORKERS.value)
            if _PORT.value:
                ports = list(range(_PORT.value, _PORT.value + _WORKERS.value))
            servers = [service.Worker(port, _DISPATCHER.value, own_name) for port in ports]
        supervisor = stack.enter_context(service.Supervisor(servers, lambda text: print(text, flush=True)))
        supervisor.wait()


if __name__ == "__main__":
    console.run(main, resumable=False)
