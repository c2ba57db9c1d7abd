"""musicnn against the original's own values, what it is made of, and the windows that it cuts."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.musicnn import KERNELS, NORMALIZED
from support.places import ROOT

from experiments.pretrained.cache import FETCHED, describe_weights, weights_folder
from layers.classifier import build_audio_classifier
from layers.front_ends.musicnn_mel import MusicnnMelSpectrogram
from layers.networks.musicnn import (
    BACKBONE,
    WINDOW_FRAMES,
    CutWindows,
    MeanOverWindows,
    load_musicnn_weights,
    musicnn_backbone,
    musicnn_tagger,
)
from pipeline.decoding import decode_crop

# The machine's own cache, read before the tests are given an empty one.
OWN_WEIGHTS = weights_folder()
GOLDENS = ROOT / "tests" / "goldens"


@pytest.fixture(params=FETCHED)
def fetched(request, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MELSTREAM_WEIGHTS", str(OWN_WEIGHTS))
    if not (OWN_WEIGHTS / f"{request.param}.weights.h5").is_file():
        pytest.skip(f"{request.param} is not in {OWN_WEIGHTS}; python -m experiments.fetch_weights fetches it")
    return request.param


@pytest.fixture(scope="module")
def goldens() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "musicnn.npz") as file:
        return dict(file)


def test_tags_and_embeddings_are_the_originals(fetched: str, goldens):
    """Within 1e-4. Measured: 6.1e-6 of tags and 2.7e-5 of embeddings, whose values go up to 3.6.

    A band here and there rounds to the neighbouring float16, because librosa sums in another order.
    """
    tagger = musicnn_tagger()
    tagger.load_weights(OWN_WEIGHTS / f"{fetched}.weights.h5")
    embed, head = tagger.get_layer(BACKBONE), tagger.get_layer("dense_1")
    front_end = MusicnnMelSpectrogram()
    keys = [key for key in goldens if key.endswith(f" {fetched} tags")]
    assert len(keys) == 6
    errors = {"tags": 0.0, "penultimate": 0.0}
    for key in keys:
        clip = key.split()[0]
        waveform = decode_crop(str(GOLDENS / clip), 16000, 0, 0.0).reshape(1, -1)
        image = front_end(waveform)
        embedding = embed(CutWindows(WINDOW_FRAMES)(image), training=False)  # [windows, 200]
        tags = head(embedding).numpy()
        expected = goldens[key]
        assert tags.shape == expected.shape and len(expected) == (2 if clip.startswith("music") else 1)
        errors["tags"] = max(errors["tags"], abs(tags - expected).max())
        errors["penultimate"] = max(
            errors["penultimate"], abs(embedding - goldens[key.replace("tags", "penultimate")]).numpy().max()
        )
        np.testing.assert_allclose(tagger(image, training=False)[0], expected.mean(axis=0), atol=1e-4)
    print(f"{fetched}: the largest differences are {errors}")
    assert max(errors.values()) < 1e-4
    assert describe_weights(fetched)["tags"] == goldens[f"{fetched} labels"].tolist()


def test_goldens_are_of_clips_that_differ(goldens):
    assert np.ptp([goldens[key].mean(axis=0) for key in goldens if key.endswith("msd tags")], axis=0).max() > 0.2
    two = goldens["music/maxstack-nebula.mp3 musicnn_mtt penultimate"]
    assert abs(two[0] - two[1]).max() > 0.1, "the original's second embedding is its own"


def test_layers_with_weights_are_those_of_the_checkpoints():
    tagger = musicnn_tagger()
    found = {
        layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in tagger.get_layer(BACKBONE).layers
    }
    found = {name: shapes for name, shapes in found.items() if shapes}
    found["dense_1"] = [tuple(weight.shape) for weight in tagger.get_layer("dense_1").weights]
    for name, kernel in KERNELS.items():
        own = (kernel[0], kernel[1], kernel[3]) if name in ("conv2d_5", "conv2d_6", "conv2d_7") else kernel
        assert found.pop(name) == [own, kernel[-1:]]
    for name, channels in NORMALIZED.items():
        assert found.pop(name) == [(channels,)] * 4
    assert not found
    weights = sum(int(np.prod(kernel)) + kernel[-1] for kernel in KERNELS.values()) + 4 * sum(NORMALIZED.values())
    assert tagger.count_params() == weights


def test_weights_of_taggers_go_into_backbones_and_no_further(tmp_path: Path, rng):
    paths = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        tagger = musicnn_tagger()
        tagger.set_weights([rng.uniform(0.1, 1, weight.shape).astype(np.float32) for weight in tagger.weights])
        paths.append(tmp_path / f"{seed}.weights.h5")
        tagger.save_weights(paths[-1])
    pair = build_audio_classifier("musicnn_pair", 3, MusicnnMelSpectrogram())
    head = pair.get_layer("logits").get_weights()
    load_musicnn_weights(pair, paths)
    for backbone, path in zip(("musicnn_backbone_0", "musicnn_backbone_1"), paths, strict=True):
        tagger.load_weights(path)
        for ours, theirs in zip(
            pair.get_layer(backbone).get_weights(), tagger.get_layer(BACKBONE).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(pair.get_layer("logits").get_weights()[0], head[0])
    with pytest.raises(ValueError, match="expected a network of 1 musicnn backbones, received musicnn_pair with 2"):
        load_musicnn_weights(pair, paths[:1])
    for wrong in (tmp_path / "none.weights.h5", tmp_path / "text.weights.h5"):
        (tmp_path / "text.weights.h5").write_text("no weights")
        with pytest.raises(ValueError, match=f"weights in .*{wrong.name}, but they do not fit: .*; fetch them again"):
            load_musicnn_weights(pair, [paths[0], wrong])


def naive_mean(image: np.ndarray, length: int) -> np.ndarray:
    """The mean over windows of the sums of each window's frames, [batch, bands]."""
    starts = range(0, image.shape[1] - length + 1, length) if image.shape[1] >= length else (0,)
    return np.mean([image[:, start : start + length, :, 0].sum(axis=1) for start in starts], axis=0)


@pytest.mark.parametrize(("frames", "windows", "length"), [(3, 1, 3), (5, 1, 5), (9, 1, 5), (10, 2, 5), (24, 4, 5)])
@pytest.mark.parametrize("is_static", [True, False])
def test_windows_are_cut_and_averaged(frames: int, windows: int, length: int, is_static: bool, rng):
    image = rng.standard_normal((3, frames, 4, 1)).astype(np.float32)
    cut, average = CutWindows(5), MeanOverWindows(5)

    def both(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        cut_windows = cut(image)
        return cut_windows, average([tf.reduce_sum(cut_windows, axis=[1, 3]), image])

    shape = [3, frames, 4, 1] if is_static else [None, None, 4, 1]
    got, mean = tf.function(both, input_signature=[tf.TensorSpec(shape, tf.float32)])(image)
    expected = [image[i, k * length : (k + 1) * length] for i in range(3) for k in range(windows)]
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(mean, naive_mean(image, 5), atol=1e-5)
    assert cut(keras.KerasTensor((None, frames, 4, 1))).shape == (None, length, 4, 1)
    assert cut(keras.KerasTensor((None, None, 4, 1))).shape == (None, None, 4, 1)
    assert average([keras.KerasTensor((None, 7)), keras.KerasTensor((2, frames, 4, 1))]).shape == (2, 7)


def test_windows_in_a_saved_model(tmp_path: Path, rng):
    image = keras.Input((None, 4, 1))
    sums = keras.layers.Flatten()(keras.layers.GlobalAveragePooling2D(keepdims=True)(CutWindows(5)(image)))
    model = keras.Model(image, MeanOverWindows(5)([sums, image]))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert [layer.window_frames for layer in again.layers if hasattr(layer, "window_frames")] == [5, 5]
    for frames in (4, 5, 17):
        values = rng.standard_normal((2, frames, 4, 1)).astype(np.float32)
        length = min(frames, 5)
        expected = naive_mean(values, 5).mean(axis=1, keepdims=True) / length
        np.testing.assert_allclose(again(values), expected, atol=1e-5)


def test_a_clip_is_the_mean_of_its_windows(rng):
    keras.utils.set_random_seed(3)
    backbone = musicnn_backbone()
    image = rng.uniform(0, 3, (1, 2 * WINDOW_FRAMES + 40, 96, 1)).astype(np.float32)
    units = [backbone(image[:, k * WINDOW_FRAMES : (k + 1) * WINDOW_FRAMES], training=False) for k in range(2)]
    cut = backbone(CutWindows(WINDOW_FRAMES)(image), training=False)
    mean = MeanOverWindows(WINDOW_FRAMES)([cut, image])
    np.testing.assert_allclose(mean, np.mean(units, axis=0), atol=1e-5)
    assert abs(units[0] - units[1]).numpy().max() > 1e-3
