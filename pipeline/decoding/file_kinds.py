"""Names what a file is that libsndfile does not read, by its first bytes: the name of a file is often wrong."""

from __future__ import annotations

_KINDS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "AAC or ALAC in an MP4 file"),
    (0, b"\xff\xf1", "AAC (ADTS)"),
    (0, b"\xff\xf9", "AAC (ADTS)"),
    (0, b"ADIF", "AAC (ADIF)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (ASF)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (28, b"\x7fFLAC", "FLAC in an Ogg file"),
    (28, b"Speex", "Speex in an Ogg file"),
    (28, b"\x80theora", "an Ogg video"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"TTA1", "True Audio"),
    (0, b"DSD ", "DSD audio"),
    (0, b"FRM8", "DSD audio"),
    (0, b".RMF", "RealMedia"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"#!AMR", "AMR speech"),
    (0, b"MThd", "MIDI, which holds no sound"),
    (0, b"\x00\x00\x01\xba", "an MPEG video"),
    (8, b"AVI ", "an AVI video"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"#EXTM3U", "a playlist"),
    (0, b"[playlist]", "a playlist"),
    (0, b"version https://git-lfs", "a pointer of Git LFS"),
)
_WEB_PAGES = (b"<!doctype html", b"<html", b"<?xml")
HEAD_BYTES = 512


def name_kind(head: bytes) -> str:
    """Names a kind of file that is not read here.

    Args:
        head: the first `HEAD_BYTES` bytes of the file, behind its ID3v2 tags.

    Returns:
        The kind in words, such as "AAC or ALAC in an MP4 file"; "" if it is unknown.
    """
    for offset, magic, kind in _KINDS:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(_WEB_PAGES):
        return "a web page, not sound"
    if head and not any(head):
        return "zeros: a copy or download that was not finished"
    return ""
