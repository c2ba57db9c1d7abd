"""Names the genre of audio files with an exported model.

    python -m experiments.predict --saved_model=exports/rock_hiphop song.mp3 /data/more_music
    python -m experiments.predict --saved_model=exports/rock_hiphop --format=csv --output=genres.csv /data/music
    python -m experiments.predict --saved_model=exports/rock_hiphop --timeline live_set.flac

Takes any format and rate that libsndfile reads; folders are searched for the usual file names (.mp3, .flac, .wav, …). A file is predicted by equally spaced
crops that cover it, averaged, exactly as in evaluation. Links are followed, hidden files are not predicted, and what else
is left out is counted, and listed with reasons by --left_out=FILE. A file that cannot
be decoded gets a line with the reason, the others go on, and the exit code is 1.
"""

import sys
from pathlib import Path

from absl import flags

from experiments import console
from experiments.flag_types import define_path
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER

FORMATS = ("table", "csv", "json")

_SAVED_MODEL = define_path(
    "saved_model",
    None,
    "What export_saved_model wrote: a SavedModel (also of MP3s), or a .tflite or .onnx file.",
    required=True,
)
_DECODER = flags.DEFINE_enum("decoder", DEFAULT_DECODER, tuple(DECODERS), "As for training; tfio: MP3s only.")
_FORMAT = flags.DEFINE_enum(
    "format", None, FORMATS, "How to write the predictions; default: as the ending of --output says, else a table."
)
_OUTPUT = define_path("output", None, "File to write to; default: the terminal.")
_TIMELINE = flags.DEFINE_bool("timeline", False, "Also plot each file's genres over time, and add them to JSON.")
_TIMELINE_DIR = define_path("timeline_dir", "timelines", "Folder of those plots.")
_LEFT_OUT = define_path(
    "left_out", None, "CSV to write (path, reason): what the folders hold that is not predicted. Default: counts alone."
)


def main(argv: list[str]) -> None:
    from experiments.prediction import output as prediction_output
    from experiments.prediction import prediction
    from experiments.prediction.exported import load_exported
    from experiments.runs.left_out import write_left_out
    from pipeline.storage.left_out import describe_left_out

    DECODERS[_DECODER.value].check_package(
        f"--decoder={_DECODER.value}", f"leave the default, --decoder={DEFAULT_DECODER}"
    )
    paths, left_out = prediction.expand(argv[1:])
    if any(item.may_be_music for item in left_out):
        where = f"see {_LEFT_OUT.value}" if _LEFT_OUT.value else "--left_out=FILE lists them"
        print(f"note: {describe_left_out(left_out)}; {where}", file=sys.stderr)
    if _LEFT_OUT.value:
        Path(_LEFT_OUT.value).parent.mkdir(parents=True, exist_ok=True)
        write_left_out(Path(_LEFT_OUT.value), left_out)
    output = Path(_OUTPUT.value) if _OUTPUT.value else None
    if output and output.is_dir():
        raise ValueError(f"expected --output as a file to write, received the directory {output}; name a file in it")
    ending = output.suffix[1:] if output else ""
    model = load_exported(_SAVED_MODEL.value)
    failed = prediction_output.write_predictions(
        console.progress(prediction.predict_files(model, paths, _DECODER.value), len(paths), "files", unit="file"),
        model,
        _FORMAT.value or (ending if ending in FORMATS else "table"),
        output,
        timeline_dir=Path(_TIMELINE_DIR.value) if _TIMELINE.value else None,
        path_width=max(map(len, paths)),
    )
    if failed:
        print(f"error: {failed} of {len(paths)} files could not be predicted", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    console.run(main, arguments="FILE_OR_FOLDER", resumable=False)
