"""What a file is, told from its first bytes and never from its name."""

from __future__ import annotations

import re

HEAD = 600
"""Bytes that `sniff` wants to see."""

DICOM_ADVICE = (
    "Convert each series to NIfTI first, with dcm2niix for instance. The converter must end with "
    "exit code 0, as some write a file even where slices are missing; and the patient, the number "
    "of slices and their spacing must be the scanner's: compare them, as some mix up patients and "
    "fill in a spacing that they were not told."
)
"""What to do with DICOM, which is not yet read."""

MAGIC = (
    (0, b"\x1f\x8b", "gzip"),
    (344, b"n+1\0", "NIfTI-1"),
    (4, b"n+2\0\r\n\x1a\n", "NIfTI-2"),
    (344, b"ni1\0", "the header of a NIfTI .hdr/.img pair"),
    (4, b"ni2\0\r\n\x1a\n", "the header of a NIfTI .hdr/.img pair"),
    (0, b"NRRD000", "NRRD"),
    (128, b"DICM", "DICOM"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (0, b"\x89HDF", "HDF5"),
    (0, b"CDF\x01", "MINC"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"version https://git-lfs", "a Git LFS pointer: the scan itself was not fetched"),
)
META = re.compile(rb"\s*(ObjectType|ObjectSubType|NDims|Comment)\s*=", re.IGNORECASE)
HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", re.IGNORECASE)
HEADER_SIZES = {348, 540}


def sniff(head: bytes) -> str:
    """What bytes that begin like this are; "unknown" where nothing fits.

    Args:
        head: the first `HEAD` bytes, or all of a shorter file.

    Returns:
        "gzip", "NIfTI-1", "NIfTI-2", "NRRD", "MetaImage" and pictures of PNG, TIFF, JPEG and BMP
        are what volunet reads; "cut NIfTI" and "NIfTI without its magic" are told by the length
        that a header begins with.
    """
    for offset, magic, kind in MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "a BMP picture"
    if META.match(head):
        return "MetaImage"
    if HTML.match(head):
        return "an HTML page"
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if len(head) >= 4 and sizes & HEADER_SIZES:
        return "cut NIfTI" if len(head) < min(sizes & HEADER_SIZES) else "NIfTI without its magic"
    return "unknown"
