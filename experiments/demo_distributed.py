"""Trains on the demo set with a tf.data service on this machine: a dispatcher, two workers and a trainer.

    python -m experiments.demo_distributed --data_dir=data/demo --output_dir=runs/demo_distributed

It prints the process ids: kill -9 a worker or the dispatcher in the middle, and the training ends with the same weights.
"""

from experiments import console
from experiments.flag_types import define_number, define_path
from experiments.settings import MAX_EPOCHS

_DATA_DIR = define_path("data_dir", "data/demo", "The demo set; it is made if it is not there.")
_OUTPUT_DIR = define_path("output_dir", "runs/demo_distributed", "Run directory: new, or to continue.")
_EPOCHS = define_number("epochs", 3, "Passes over the training clips.", minimum=1, limit=MAX_EPOCHS)


def main(argv: list[str]) -> None:
    del argv
    from experiments.evaluation import evaluation
    from experiments.settings import Settings
    from experiments.training import loop as training  # TensorFlow takes seconds to import: not before --help
    from pipeline.service import client as service_client
    from pipeline.service import servers as service

    port, *worker_ports = service.free_ports(3)
    settings = Settings(
        dataset="demo",
        data_dir=_DATA_DIR.value,
        epochs=_EPOCHS.value,
        data_service=f"grpc://localhost:{port}",
    )
    with service.journal_dir("") as work_dir:
        dispatcher = service.Dispatcher(port, work_dir)
        workers = [service.Worker(worker_port, f"localhost:{port}") for worker_port in worker_ports]
        with service.Supervisor([dispatcher, *workers], lambda text: print(text, flush=True)):
            service_client.check_service(settings.data_service, timeout_seconds=300)  # three processes load TensorFlow
            metrics = training.train(settings, _OUTPUT_DIR.value)
    for split, scores in metrics.items():
        print(evaluation.format_metrics(split, scores))
    print("dispatcher and workers are stopped")


if __name__ == "__main__":
    console.run(main)
