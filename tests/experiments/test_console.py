"""What becomes of text that a terminal cannot show, and of readers that go away."""

import subprocess
import sys

import pytest
from support.places import ROOT

SCRIPT = """
import sys
from experiments import console

def main(argv):
    print("caf\\udce9 \\u6797 \\xe9")
    print("caf\\udce9 \\u6797", file=sys.stderr)
    for i in range(int(argv[1])):
        print(i)
    if argv[2] == "fail":
        sys.exit(1)

console.run(main, "A NUMBER")
"""


def run(lines: int, ending: str = "end", stdout: object = subprocess.PIPE, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(lines), ending]
    return subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, env={"PATH": "", **environment})


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONUTF8": "1"}, "\u6797 \xe9".encode()),
        ({"PYTHONIOENCODING": "ascii"}, b"\\u6797 \\xe9"),
        ({"PYTHONIOENCODING": "latin-1"}, b"\\u6797 \xe9"),
        ({"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, b"\\u6797 \\xe9"),
    ],
)
def test_any_text_can_be_shown(environment: dict[str, str], shown: bytes):
    out, err = run(0, **environment).communicate()
    assert out == b"caf\xe9 " + shown + b"\n", (
        "a byte of a file name as it is, a character that is missing as an escape"
    )
    assert err == b"caf\xe9 " + shown.split()[0] + b"\n"


@pytest.mark.parametrize(("lines", "ending"), [(3, "end"), (3, "fail"), (100_000, "end")])
def test_a_reader_that_goes_away_ends_a_command_quietly(lines: int, ending: str):
    process = run(lines, ending)
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read().count(b"\n") == 1, "the script's own line"
    assert process.wait() == 141


def test_a_full_disk_is_an_error():
    with open("/dev/full", "w") as full:
        _, err = run(3, stdout=full).communicate()
    assert b"error: expected to write to standard output" in err and b"Traceback" not in err


def test_closed_standard_output():
    command = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", SCRIPT, "3", "end"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert result.returncode == 0 and b"Traceback" not in result.stderr
