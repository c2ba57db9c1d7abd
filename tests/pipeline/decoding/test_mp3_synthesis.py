"""The layer `Mp3Synthesis` gives the native decoder's waveforms, and works wherever a Keras layer does."""

from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from support.audio import music, write_mp3
from support.places import shared

from pipeline import FailureLedger, Mp3Synthesis, decode_crop, train_dataset
from pipeline.decoding import line_decoder, mp3_synthesis, soundfile_decoder
from pipeline.mp3.native import line_crops
from pipeline.mp3.native.half_band import filter_subbands
from pipeline.mp3.native.hybrid import hybrid_kernel
from pipeline.mp3.native.synthesis import filterbank, synthesis_kernel

RATE_HZ, CROP_SAMPLES = 22050, 22050
POSITIONS = (0.0, 0.37, 0.501, 1.0)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """In stereo with clicks, so that LAME uses all block types; mono; one at another rate; one that is no MP3; a short one."""
    folder = tmp_path_factory.mktemp("lines")
    found = [write_mp3(folder / f"{n}.mp3", music(3, 44100, n, seed=n), 44100, quality=0.3) for n in (1, 2)]
    found += [
        write_mp3(folder / "48.mp3", music(3, 48000, seed=4), 48000),
        folder / "flac.flac",
        write_mp3(folder / "short.mp3", music(0.5, 44100, seed=5), 44100),
    ]
    soundfile.write(found[3], music(3, 44100, 2, seed=6), 44100)
    return [str(path) for path in found]


def as_inputs(batch: line_decoder.LineBatch) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in batch._asdict().items()}


def decode(paths: list[str], positions: list[float], samples: int = CROP_SAMPLES) -> line_decoder.LineBatch:
    batch, errors = line_decoder.decode_batch(paths, RATE_HZ, samples, positions)
    assert errors == [None] * len(paths)
    return batch


@pytest.fixture(scope="module")
def batch(paths: list[str]) -> line_decoder.LineBatch:
    return decode(paths * 4, [position for position in POSITIONS for _ in paths])


@pytest.fixture(scope="module")
def waveforms(paths: list[str]) -> np.ndarray:
    return np.stack([decode_crop(path, RATE_HZ, CROP_SAMPLES, place) for place in POSITIONS for path in paths])


def test_gives_the_decoder_s_waveforms(batch: line_decoder.LineBatch, waveforms: np.ndarray):
    made = Mp3Synthesis(CROP_SAMPLES)(as_inputs(batch))
    np.testing.assert_allclose(made, waveforms, rtol=0, atol=1e-5)
    is_waveform = batch.places[:, line_crops.PLACE_IS_WAVEFORM].reshape(len(POSITIONS), -1)
    assert is_waveform.tolist() == [[0, 0, 1, 1, 1]] * len(POSITIONS)


@pytest.mark.parametrize("samples", [206, 1001, 16384])
def test_any_length_of_a_crop(paths: list[str], samples: int):
    positions = np.random.default_rng(samples).random(12).tolist()
    batch = decode(paths[:2] * 6, positions, samples)
    wanted = [decode_crop(path, RATE_HZ, samples, place) for path, place in zip(paths[:2] * 6, positions, strict=True)]
    np.testing.assert_allclose(Mp3Synthesis(samples)(as_inputs(batch)), wanted, rtol=0, atol=1e-5)
    assert not batch.places[:, line_crops.PLACE_IS_WAVEFORM].any()


def test_the_waveform_is_that_of_libsndfile(paths: list[str]):
    """Independent of the native decoder."""
    batch = decode(paths[:2], [0.4, 0.6])
    made = Mp3Synthesis(CROP_SAMPLES)(as_inputs(batch)).numpy()
    for path, place, waveform in zip(paths, (0.4, 0.6), made, strict=False):
        wanted = decode_with_libsndfile(path, place)
        error = waveform - wanted
        assert 10 * np.log10(np.sum(wanted**2) / np.sum(error**2)) > 60  # their low-pass filters differ near 10.5 kHz
        assert np.abs(error).max() < 2e-3


def decode_with_libsndfile(path: str, place: float) -> np.ndarray:
    return soundfile_decoder.decode_crop(path, RATE_HZ, CROP_SAMPLES, place)


def test_all_block_types_and_pairs_of_them(rng: np.random.Generator):
    """Encoders hardly write mixed blocks; here each granule's channels have any two types. The kernels are the reference."""
    layer = Mp3Synthesis(CROP_SAMPLES)
    granules, spare = line_crops.granule_rows(CROP_SAMPLES), line_crops.spare_rows(CROP_SAMPLES)
    kinds = np.array([0, 1, 2, 3, 5, 6, 7], np.int8)
    lines = 0.1 * rng.standard_normal((line_crops.all_rows(CROP_SAMPLES), line_crops.LINES_OF_ROW)).astype(np.float32)
    lines[-1] = 0
    pairs = np.repeat(rng.choice(kinds, (granules, 1)), 2, axis=1)
    other = np.zeros((granules, line_crops.LINES_OF_ROW), np.float32)
    owners = rng.choice(granules, spare, replace=False)
    for number, owner in enumerate(owners):
        pairs[owner, 1] = rng.choice(kinds[kinds != pairs[owner, 0]])
        other[owner] = lines[granules + number]
    places = np.zeros((1, line_crops.PLACE_SPARE_ROWS + spare), np.int32)
    places[0, line_crops.PLACE_FIRST_SAMPLE] = 101
    places[0, line_crops.PLACE_SPARE_ROWS :] = owners + 1
    blocks = np.concatenate([pairs[:, 0], pairs[owners, 1]])
    made = layer({"lines": lines[np.newaxis], "blocks": blocks[np.newaxis], "places": places})[0]

    subbands = np.empty(((granules - 1) * 18, 16), np.float32)
    hybrid_kernel(16)(lines[:granules].copy(), other, pairs, subbands)
    filter_subbands(subbands)
    samples = np.zeros(len(subbands) * 16, np.float32)
    synthesis_kernel(16, 16)(subbands, filterbank(16, 2, 1), samples)
    np.testing.assert_allclose(made, samples[50 : 50 + CROP_SAMPLES], rtol=0, atol=1e-5)


def test_real_clips_whose_channels_differ():
    """FMA clips in plain stereo: one has more such granules in places than there is room for."""
    files = [str(path) for path in sorted(shared("fma_small").glob("**/*.mp3"))]
    positions = [0.0, 0.25, 0.5, 0.75, 1.0]
    samples = 5 * RATE_HZ
    batch = decode(files * 5, [place for place in positions for _ in files], samples)
    made = Mp3Synthesis(samples)(as_inputs(batch)).numpy()
    wanted = [decode_crop(path, RATE_HZ, samples, place) for place in positions for path in files]
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-5)
    assert (batch.places[:, line_crops.PLACE_SPARE_ROWS :] > 0).any()


def test_a_crop_with_too_many_pairs_is_sent_as_samples(batch, waveforms, paths, monkeypatch: pytest.MonkeyPatch):
    real = line_crops.decode_line_jobs

    def refuse_first(*args):
        real(*args)
        args[-1][0] = line_crops.TOO_MANY_SPARE_ROWS

    monkeypatch.setattr(line_crops, "decode_line_jobs", refuse_first)
    sent = decode(paths[:2], [POSITIONS[1]] * 2)
    assert sent.places[:, line_crops.PLACE_IS_WAVEFORM].tolist() == [1, 0]
    wanted = waveforms[len(paths) : len(paths) + 2]
    made = Mp3Synthesis(CROP_SAMPLES)(as_inputs(sent))
    np.testing.assert_array_equal(made[0], wanted[0])
    np.testing.assert_allclose(made[1], wanted[1], rtol=0, atol=1e-5)


def test_errors_are_those_of_the_decoder(tmp_path: Path, paths: list[str]):
    (tmp_path / "bad.mp3").write_bytes(b"no sound " * 1000)
    batch, errors = line_decoder.decode_batch([paths[0], str(tmp_path / "bad.mp3")], RATE_HZ, CROP_SAMPLES, [0.5, 0.5])
    with pytest.raises(ValueError) as expected:
        decode_crop(str(tmp_path / "bad.mp3"), RATE_HZ, CROP_SAMPLES, 0.5)
    assert errors[0] is None and str(errors[1]) == str(expected.value)
    assert np.isfinite(batch.lines).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_float32_under_every_policy_and_xla(batch, waveforms, policy: str):
    keras.config.set_dtype_policy(policy)
    try:
        layer = Mp3Synthesis(CROP_SAMPLES)
        inputs = layer.make_inputs()
        model = keras.Model(inputs, layer(inputs))
    finally:
        keras.config.set_dtype_policy("float32")
    compiled = tf.function(lambda crops: model(crops), jit_compile=True)
    for make in (model, compiled):
        made = make(as_inputs(batch))
        assert made.dtype == tf.float32 and made.shape == waveforms.shape
        np.testing.assert_allclose(made, waveforms, rtol=0, atol=1e-5)


def test_is_saved_with_a_model(batch, waveforms, tmp_path: Path):
    layer = Mp3Synthesis(CROP_SAMPLES, name="synthesis")
    inputs = layer.make_inputs()
    keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(model(as_inputs(batch)), waveforms, rtol=0, atol=1e-5)
    assert Mp3Synthesis.from_config(layer.get_config()).crop_samples == CROP_SAMPLES


def test_loses_nothing_where_a_gpu_rounds_factors(batch, waveforms, monkeypatch: pytest.MonkeyPatch):
    """A GPU's products, here on the CPU: both factors are rounded to TensorFloat-32, and the sum is not."""

    def rounded(values) -> tf.Tensor:
        values = tf.convert_to_tensor(values)
        scale = 2.0 ** tf.floor(tf.math.log(tf.maximum(tf.abs(values), 1e-30)) / np.log(2.0))
        return tf.cast(tf.round(values / scale * 1024) / 1024 * scale, tf.float32)

    for owner, name in ((tf, "matmul"), (tf.nn, "conv1d")):
        product = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda a, b, product=product, **options: product(rounded(a), rounded(b), **options)
        )
    as_it_is = np.abs(Mp3Synthesis(CROP_SAMPLES).call(as_inputs(batch)) - waveforms).max()
    monkeypatch.setattr(mp3_synthesis, "_rounds_factors", lambda: True)
    split = np.abs(tf.function(Mp3Synthesis(CROP_SAMPLES).call)(as_inputs(batch)) - waveforms).max()
    assert split < 1e-5 < as_it_is


def test_fit_gets_the_same_batches_as_waveforms(paths: list[str], tmp_path: Path):
    """In the same order, without the file that cannot be decoded, with targets and weights."""
    (tmp_path / "bad.mp3").write_bytes(b"no sound " * 1000)
    files = [*paths, str(tmp_path / "bad.mp3")] * 2
    options = {"crop_seconds": 1.0, "batch_size": 4, "seed": 5, "sample_weight": np.arange(12.0)}
    of_waveforms, of_lines = (
        train_dataset(files, np.arange(12), max_failures(files), yields=yields, **options)
        for yields in ("waveforms", "lines")
    )
    layer = Mp3Synthesis(CROP_SAMPLES)
    for _ in range(2):  # passes
        for (waveform, *columns), (lines, *same) in zip(of_waveforms, of_lines, strict=True):
            np.testing.assert_allclose(layer(lines), waveform, rtol=0, atol=1e-5)
            for column, expected in zip(same, columns, strict=True):
                np.testing.assert_array_equal(column, expected)
    assert list(of_lines.ledger.failures) == list(of_waveforms.ledger.failures) == [str(tmp_path / "bad.mp3")]


def max_failures(files: list[str]) -> FailureLedger:
    return FailureLedger(len(files), max_failure_rate=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "soundfile"}, "expected decoder auto for lines of MP3s, received 'soundfile'"),
        (
            {"sample_rate_hz": 44100},
            r"half of an MP3's \(4000, 6000, 8000, 11025, 12000, 16000, 22050, 24000\) for lines, received 44100",
        ),
        ({"crop_seconds": 0}, "expected crop_seconds of at least 0.009 for lines, received 0, whole clips"),
        ({"crop_seconds": 0.005}, "expected crop_seconds of at least 0.009 for lines, received 0.005"),
        ({"yields": "samples"}, "expected yields as one of waveforms, lines, received 'samples'"),
    ],
)
def test_what_cannot_be_had_as_lines(paths: list[str], options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        train_dataset(paths, range(5), **{"crop_seconds": 1.0, "yields": "lines"} | options)
    with pytest.raises(ValueError, match="expected crop_samples of at least 206"):
        Mp3Synthesis(205)
