"""The datasets in `model.fit`: each epoch is the next one, bit for bit that of `experiments.train`."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.builders.training_data import training_stream
from experiments.settings import Settings
from pipeline import FailureLedger, eval_dataset, load_fma, train_dataset
from pipeline.failures import FailureBudgetError

EVALUATION = {"sample_rate_hz": 8000, "crop_seconds": 2.0, "batch_size": 4}
SETTINGS = EVALUATION | {"seed": 3}


class Recorder(keras.layers.Layer):
    """Passes waveforms on, and keeps those of training."""

    def __init__(self, seen: list[np.ndarray], **kwargs):
        super().__init__(**kwargs)
        self.keep = seen.append  # Keras would copy a list

    def call(self, waveform: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return waveform
        kept = tf.numpy_function(lambda array: self.keep(array) or array, [waveform], tf.float32)
        return tf.ensure_shape(kept, waveform.shape)


def make_model(seen: list[np.ndarray], classes: int = 3) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [Recorder(seen), keras.layers.Rescaling(1.0), keras.layers.Dense(classes, "softmax")]
    model = keras.Sequential([keras.Input([16000]), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def catalog(small_fma: Path):
    """Without the broken clip."""
    catalog = load_fma(small_fma)
    return catalog.keep(~catalog.tracks["path"].str.endswith("011491.mp3"), "")


def test_fit_sees_the_epochs_of_a_training_run(catalog):
    settings = Settings(**SETTINGS, crops_per_clip=2)
    wanted = []
    for epoch in range(4):
        stream, _ = training_stream(catalog, settings, FailureLedger(100), epoch)
        wanted.append([waveform.numpy() for waveform, _ in stream])
    seen: list[np.ndarray] = []
    train = train_dataset(catalog["training"], **SETTINGS, crops_per_clip=2)
    validation = eval_dataset(catalog["validation"], **EVALUATION)
    history = make_model(seen).fit(train, epochs=3, verbose=0, validation_data=validation)
    assert len(train) == len(wanted[0]) and len(history.history["val_loss"]) == 3
    for own, expected in zip(seen, itertools.chain(*wanted[:3]), strict=True):
        np.testing.assert_array_equal(own, expected)
    # It goes on where another left off, and from a dataset that has had its passes.
    continued = train_dataset(catalog["training"], **SETTINGS, crops_per_clip=2, first_epoch=3)
    for dataset in (continued, train):
        for (waveform, _), expected in zip(dataset, wanted[3], strict=True):
            np.testing.assert_array_equal(waveform, expected)


def test_evaluation_by_keras_is_that_of_the_windows(catalog):
    clips = catalog["validation"]
    model = make_model([])
    by_keras = model.evaluate(eval_dataset(clips, **EVALUATION), verbose=0, return_dict=True)
    correct = []
    for waveform, row in eval_dataset(clips.paths, FailureLedger(100), **EVALUATION):
        predicted = model(waveform).numpy().argmax(axis=1)
        correct += (predicted == clips.targets[row.numpy()]).tolist()
    assert by_keras["accuracy"] == pytest.approx(np.mean(correct), abs=1e-6)


def test_a_bad_file_is_named_and_the_steps_stay(small_fma: Path):
    clips = load_fma(small_fma)["training"]
    bad = [path for path in clips.paths if path.endswith("011491.mp3")]
    assert len(bad) == 1
    settings = {**SETTINGS, "batch_size": 1}
    train = train_dataset(clips, ledger=FailureLedger(len(clips), max_failure_rate=0.2), **settings)
    seen: list[np.ndarray] = []
    # Validation on the same clips, as windows of one clip each: a batch without examples would reach no layer either.
    validation = eval_dataset(clips, ledger=train.ledger, **{**EVALUATION, "batch_size": 1})
    make_model(seen).fit(train, epochs=2, verbose=0, validation_data=validation)
    assert len(seen) == 2 * len(clips) == 2 * len(train) and all(len(batch) == 1 for batch in seen)
    assert list(train.ledger.failures) == bad


def test_the_budget_stops_fit_with_its_own_message(small_fma: Path):
    clips = load_fma(small_fma)["training"]
    with pytest.raises((FailureBudgetError, tf.errors.OpError), match="expected at most 0 undecodable files of 13"):
        make_model([]).fit(train_dataset(clips, **SETTINGS), epochs=1, verbose=0)


def test_weights_several_labels_and_strategies(catalog):
    clips = catalog["training"]
    weights = np.arange(len(clips), dtype=np.float32)
    weighted = train_dataset(clips, **SETTINGS, sample_weight=weights)
    make_model([]).fit(weighted, verbose=0)
    make_model([]).fit(train_dataset(clips, **SETTINGS), class_weight={0: 1.0, 1: 2.0, 2: 3.0}, verbose=0)
    targets = np.eye(3, dtype=np.int32)[clips.targets]
    model = make_model([])
    model.compile("sgd", "binary_crossentropy")
    model.fit(train_dataset(clips.paths, targets, **SETTINGS), verbose=0)
    distributed = tf.distribute.get_strategy().experimental_distribute_dataset(train_dataset(clips, **SETTINGS))
    assert len(list(distributed)) == 3


def test_a_pass_that_is_left_is_begun_anew(catalog):
    train = train_dataset(catalog["training"], **SETTINGS)
    first = [waveform.numpy() for waveform, _ in train.take(1)]
    whole = [waveform.numpy() for waveform, _ in train]
    np.testing.assert_array_equal(first[0], whole[0])
    assert not np.array_equal(next(iter(train))[0], whole[0])
