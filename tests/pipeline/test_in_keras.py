"""The datasets in `model.fit`: each epoch is the next one, bit for bit that of `experiments.train`."""

import itertools
import subprocess
import sys
import textwrap
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


def test_the_budget_stops_keras_with_its_own_error(small_fma: Path):
    clips = load_fma(small_fma)["training"]
    message = r"(?s)^expected at most 0 undecodable files of 13 .*011491\.mp3: .* raise max_failure_rate \(--max_fail"
    model = make_model([])
    for options in ({}, {"epoch": 0}):
        with pytest.raises(FailureBudgetError, match=message):
            model.fit(train_dataset(clips, **SETTINGS, **options), verbose=0)
    for use in (model.evaluate, model.predict):
        with pytest.raises(FailureBudgetError, match=message):
            use(eval_dataset(clips, **EVALUATION), verbose=0)
    on_device = train_dataset(clips, **SETTINGS).apply(tf.data.experimental.prefetch_to_device("/CPU:0"))
    with pytest.raises(FailureBudgetError, match=message):
        model.fit(on_device, verbose=0)
    for ledger, found in ((None, "at most 0 undecodable files of 2"), (FailureLedger(2, 1.0), "found none of 2")):
        with pytest.raises(FailureBudgetError, match=found):
            model.fit(train_dataset(["/a.mp3", "/b.mp3"], [0, 1], ledger, **SETTINGS), verbose=0)
    # Keras makes another dataset of this one, and TensorFlow's error stands around the message.
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected at most 0 undecodable files of 13"):
        model.fit(train_dataset(clips, **SETTINGS), class_weight={0: 1.0, 1: 1.0, 2: 1.0}, verbose=0)


class Listener(keras.Model):
    """Learns nothing, and keeps the batches that it is to learn from."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[np.ndarray]] = []

    def call(self, waveform: tf.Tensor) -> tf.Tensor:
        return waveform

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, float]:
        self.batches.append([tensor.numpy() for tensor in data])
        return {"loss": 0.0}


def fitted_batches(dataset: tf.data.Dataset, **options) -> list[list[np.ndarray]]:
    model = Listener()
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(dataset, verbose=0, **options)
    return model.batches


def test_weights_reach_the_loss_beside_their_clips(catalog):
    clips = catalog["training"]
    weights = np.arange(len(clips)) / 2
    rows = train_dataset(clips.paths, range(len(clips)), **SETTINGS)  # each clip a class of its own
    weighted = fitted_batches(train_dataset(clips, sample_weight=weights, **SETTINGS))
    for (waveform, row), (own, target, weight) in zip(rows, weighted, strict=True):
        np.testing.assert_array_equal(own, waveform)
        np.testing.assert_array_equal(target, clips.targets[row.numpy()])
        np.testing.assert_array_equal(weight, row.numpy() / 2)
    by_class = fitted_batches(train_dataset(clips, **SETTINGS), class_weight={0: 1.0, 1: 5.0, 2: 9.0})
    for _, target, weight in by_class:
        assert weight.tolist() == [(1.0, 5.0, 9.0)[index] for index in target]
    for _, target, weight, row in eval_dataset(clips, with_rows=True, sample_weight=weights, **EVALUATION):
        np.testing.assert_array_equal(weight, row.numpy() / 2)
        np.testing.assert_array_equal(target, clips.targets[row.numpy()])


def test_several_labels_a_clip(catalog):
    clips = catalog["training"]
    targets = np.eye(3, dtype=np.int32)[clips.targets]
    dataset = train_dataset(clips.paths, targets, **SETTINGS, sample_weight=np.ones(len(clips)))
    model = make_model([])
    model.compile("sgd", "binary_crossentropy", metrics=["binary_accuracy"])
    history = model.fit(dataset, verbose=0, validation_data=eval_dataset(clips.paths, targets, **EVALUATION)).history
    assert np.isfinite([*history["loss"], *history["val_loss"]]).all()


def test_a_device_has_the_passes_and_keras_their_number(catalog, capsys):
    clips = catalog["training"]
    dataset = train_dataset(clips, **SETTINGS)
    on_device = dataset.apply(tf.data.experimental.prefetch_to_device("/CPU:0"))
    assert len(on_device) == len(dataset) == 3 and on_device.ledger is dataset.ledger
    evaluation = eval_dataset(clips, **EVALUATION).apply(tf.data.experimental.prefetch_to_device("/CPU:0", 1))
    make_model([]).fit(on_device, verbose=1, validation_data=evaluation)
    printed = capsys.readouterr().out
    assert "3/3" in printed and "Unknown" not in printed
    for (waveform, _), (expected, _) in zip(on_device, train_dataset(clips, **SETTINGS, epoch=1), strict=True):
        np.testing.assert_array_equal(waveform, expected)
    filtered = dataset.apply(lambda batches: batches.filter(lambda waveform, target: tf.size(target) > 3))
    assert filtered.cardinality() == tf.data.UNKNOWN_CARDINALITY


STRATEGY = """
    import sys
    import numpy as np, tensorflow as tf
    from pipeline import eval_dataset, train_dataset
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    *paths, bad = sys.argv[1:]
    options = {"sample_rate_hz": 8000, "crop_seconds": 1.0, "batch_size": 2}
    dataset = train_dataset(paths, range(len(paths)), **options)
    shared = strategy.experimental_distribute_dataset(dataset)
    for epoch in range(2):
        expected = train_dataset(paths, range(len(paths)), epoch=epoch, **options)
        for batch, whole in zip(shared, expected, strict=True):
            for values, column in zip(batch, whole, strict=True):
                np.testing.assert_array_equal(np.concatenate(strategy.experimental_local_results(values)), column)
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input([8000]), keras.layers.Dense(20, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
    validation = eval_dataset(paths, range(len(paths)), **options)
    model.fit(dataset, epochs=2, verbose=0, validation_data=validation)
    for (waveform, _), (expected, _) in zip(dataset, train_dataset(paths, range(len(paths)), epoch=4, **options)):
        np.testing.assert_array_equal(waveform, expected)
    assert np.isfinite(model.evaluate(validation, verbose=0))
    left = [iter(train_dataset(paths * 40, [0] * 40 * len(paths), batch_size=64))]
    next(left[0])  # threads go on decoding
    print("before the end", flush=True)
    model.fit(train_dataset([*paths, bad], range(len(paths) + 1), **options), verbose=0)
"""


@pytest.mark.slow
def test_a_strategy_has_the_passes_and_an_error_ends_the_script(clips: list[Path], tmp_path: Path):
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"nothing of the kind")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(STRATEGY)]
        + [str(path) for path in (*clips, bad)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.stdout.endswith("before the end\n"), ran.stderr[-3000:]
    assert ran.returncode == 1 and "expected at most 0 undecodable files of 13" in ran.stderr


def test_a_pass_that_is_left_is_begun_anew(catalog):
    train = train_dataset(catalog["training"], **SETTINGS)
    first = [waveform.numpy() for waveform, _ in train.take(1)]
    whole = [waveform.numpy() for waveform, _ in train]
    np.testing.assert_array_equal(first[0], whole[0])
    assert not np.array_equal(next(iter(train))[0], whole[0])
