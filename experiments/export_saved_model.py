"""Exports a finished run as a SavedModel that takes audio and needs TensorFlow alone, and checks what it wrote.

    python -m experiments.export_saved_model --run_dir=runs/rock_hiphop --export_dir=exports/rock_hiphop

Loads the export in a fresh process and compares it with the run's own predictions (up to 200 clips, about half a
minute): a difference above 1e-5, or another label, and nothing is exported. Signatures: serving_default (a batch of
crops), track (a recording of any length and rate), metadata.
"""

from pathlib import Path

from absl import flags

from experiments import console
from experiments.flag_types import define_path

_RUN_DIR = define_path("run_dir", "runs/latest", "Run directory that train wrote.")
_EXPORT_DIR = define_path("export_dir", None, "The SavedModel to write.", required=True)
_OTHERS = {
    "mp3": flags.DEFINE_bool("mp3", False, "Also <export_dir>-mp3, a SavedModel of MP3 bytes; needs tensorflow-io."),
    "tflite": flags.DEFINE_bool("tflite", False, "Also <export_dir>.tflite, of TFLite's built-in operations."),
    "onnx": flags.DEFINE_bool("onnx", False, "Also <export_dir>.onnx; needs the packages of the extra [onnx]."),
}
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace earlier exports of the same names.")


def main(argv: list[str]) -> None:
    del argv
    import tensorflow as tf

    from experiments.export.export import export_run

    tf.config.set_visible_devices([], "GPU")  # as in the processes that check, which could not share its memory

    formats = ["saved_model", *(name for name, flag in _OTHERS.items() if flag.value)]
    export_run(Path(_RUN_DIR.value), Path(_EXPORT_DIR.value), formats, _OVERWRITE.value)
    print(f"try it: {console.command_prefix}predict --saved_model={_EXPORT_DIR.value} FILE_OR_FOLDER")


if __name__ == "__main__":
    console.run(main, resumable=False)
