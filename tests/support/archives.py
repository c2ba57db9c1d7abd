"""Archives as FMA's are."""

import hashlib
import zipfile
from pathlib import Path


def checksums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha1(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()


def pack(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_BZIP2, listed: bytes | None = None) -> Path:
    """Writes NAME.zip as FMA's are: folders, files and their list."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir(path.stem)
        archive.writestr(f"{path.stem}/checksums", checksums(files) if listed is None else listed)
        for folder in sorted({name.rpartition("/")[0] for name in files} - {""}):
            archive.mkdir(f"{path.stem}/{folder}")
        for name, data in files.items():
            archive.writestr(f"{path.stem}/{name}", data)
    return path
