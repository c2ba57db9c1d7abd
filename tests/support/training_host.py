"""One training process of test_hosts.py: `python tests/support/training_host.py RUN_DIR RECORD SETTINGS_JSON` under TF_CONFIG.

Writes what it saw of the training to the file RECORD.npz. Host 1 must not write the run directory, and ends without a word
after the training, so that host 0 has to notice.
"""

import json
import os
import sys

import keras
import numpy as np

from experiments.runs.run import Run
from experiments.settings import Settings
from experiments.training import loop as training


class Recorder:
    """Takes down a training without dropout, which no other number of replicas would repeat.

    Attributes:
        losses: of every step.
        weights: of the model and of its optimizer at the end of training.
    """

    def __init__(self, patch) -> None:
        self.losses: list[float] = []
        self.weights: list[np.ndarray] = []
        patch(keras.layers.Dropout, "call", lambda layer, inputs, training=False: inputs)
        make_train_step, fit = training.make_train_step, training._fit

        def recording_step(*args):
            step = make_train_step(*args)

            def recorded(*batch):
                result = step(*batch)
                self.losses.append(float(result[0]))
                return result

            return recorded

        def recording_fit(model, *args):
            state = fit(model, *args)
            self.weights = [variable.numpy() for variable in (*model.weights, *model.optimizer.variables)]
            return state

        patch(training, "make_train_step", recording_step)
        patch(training, "_fit", recording_fit)


def forbidden(*args, **kwargs):
    raise AssertionError(f"wrote a file of the run: {args}")


def main(run_dir: str, record: str, settings: str) -> None:
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    recorder = Recorder(setattr)
    if index:
        for name in list(vars(Run)):
            if name == "begin" or name.startswith("write_"):
                setattr(Run, name, forbidden)
        training.save_checkpoint = training.plot_curves = forbidden
    describe = Run.describe_failures  # the last that a training calls before it leaves

    def end(*args) -> str:
        np.savez(record, *recorder.weights, losses=recorder.losses)
        if index and sys.exc_info()[0] is None:
            os._exit(9)
        return describe(*args)

    Run.describe_failures = end
    try:
        training.train(Settings(**json.loads(settings)), run_dir)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
