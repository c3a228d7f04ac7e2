"""The text headers of NRRD and MetaImage: read to check the byte counts, and written.

Sources: the NRRD definition (https://teem.sourceforge.net/nrrd/format.html) and MetaIO's tags
(https://itk.org/Wiki/MetaIO/Documentation). Both place voxels in LPS+ mm; affines here are RAS+.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from volunet.io.opening import open_file
from volunet.io.sniff import HEAD, sniff
from volunet.space.volume import Volume

HEADER_MOST = 1 << 20
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NRRD_TYPES = {
    "int8": "signed char|int8|int8_t",
    "uint8": "uchar|unsigned char|uint8|uint8_t",
    "int16": "short|short int|signed short|signed short int|int16|int16_t",
    "uint16": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "int32": "int|signed int|int32|int32_t",
    "uint32": "uint|unsigned int|uint32|uint32_t",
    "int64": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "uint64": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "float32": "float",
    "float64": "double",
}
META_TYPES = {
    "int8": "MET_CHAR",
    "uint8": "MET_UCHAR",
    "int16": "MET_SHORT",
    "uint16": "MET_USHORT",
    "int32": "MET_INT",
    "uint32": "MET_UINT",
    "int64": "MET_LONG_LONG",
    "uint64": "MET_ULONG_LONG",
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
}


@dataclass(frozen=True, slots=True)
class TextHeader:
    """What a text header says about the bytes that follow it.

    Args:
        fields: every field, names in small letters without spaces.
        length: bytes of the header; the voxels begin there unless they lie in another file.
        longest: letters of the longest line that is to be understood, 0 where nobody counted.
    """

    fields: dict[str, str]
    length: int
    longest: int = 0

    @property
    def big_endian(self) -> bool:
        """Whether the voxels' high bytes come first."""
        msb = [self.fields.get(f"{word}byteordermsb", "") for word in ("binarydata", "element")]
        return self.fields.get("endian") == "big" or "true" in [word.lower() for word in msb]

    def numbers(self, name: str) -> list[float]:
        """The numbers of a field, none where it is missing.

        Raises:
            ValueError: the field holds something else.
        """
        return [float(word) for word in self.fields.get(name, "").split()]


def parse_nrrd(head: bytes) -> TextHeader | None:
    """The header of an attached NRRD file, None where it does not end within `head`."""
    ends = [(head.find(blank), len(blank)) for blank in (b"\n\n", b"\r\n\r\n")]
    found = [(at, width) for at, width in ends if at >= 0]
    if not found:
        return None
    end, width = min(found)
    fields, longest = {}, 0
    for line in head[:end].decode("ascii", "replace").splitlines():
        name, sign, value = line.partition(":")
        if line.startswith(("#", "content:")) or value.startswith("="):
            continue  # remarks
        longest = max(longest, len(line))
        if sign:
            fields[name.strip().lower().replace(" ", "")] = value.strip()
    return TextHeader(fields, end + width, longest)


def parse_metaimage(head: bytes) -> TextHeader | None:
    """The header of a MetaImage file, None where it does not end within `head`.

    A field that stands there twice has both values, as MetaIO may take either.
    """
    fields: dict[str, str] = {}
    length = 0
    for line in head.splitlines(keepends=True):
        length += len(line)
        name, sign, value = line.decode("ascii", "replace").partition("=")
        if not sign:
            return None
        name = name.strip().lower()
        fields[name] = f"{fields.get(name, '')} {value.strip()}".strip()
        if name == "elementdatafile":
            return TextHeader(fields, length) if line.endswith(b"\n") else None
    return None


def voxels_beside(path: Path) -> Path | None:
    """The file beside a MetaImage header that holds its voxels, None where the scan is one file.

    Raises:
        OSError: the header is missing, cannot be read, or is no file.
    """
    with open_file(path) as file:
        head = file.read(HEAD)
        if sniff(head) != "MetaImage":
            return None
        header = parse_metaimage(head + file.read(HEADER_MOST - len(head)))
    name = "LOCAL" if header is None else header.fields["elementdatafile"]
    return path.with_name(name) if names_a_file(name) and name.upper() != "LOCAL" else None


def names_a_file(name: str) -> bool:
    """Whether a header's name for its voxels can be that of a file in the same folder."""
    return name not in ("", "..") and Path(name).name == name and name.isprintable()


def nrrd_type(name: str) -> np.dtype[Any] | None:
    """The numpy type of an NRRD type's name, None where volunet does not read it."""
    for kind, names in NRRD_TYPES.items():
        if name.lower() in names.split("|"):
            return np.dtype(kind)
    return None


def metaimage_type(name: str) -> np.dtype[Any] | None:
    """The numpy type of a MetaImage type's name, None where volunet does not read it."""
    for kind, known in META_TYPES.items():
        if name.upper() == known:
            return np.dtype(kind)
    return None


def nrrd_pieces(stored: Volume, planes: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of an NRRD file around the plain bytes of one channel, packed with gzip."""
    affine = LPS @ stored.grid.affine
    vectors = " ".join(f"({','.join(map(repr, v))})" for v in affine[:3, :3].T.tolist())
    kind = stored.voxels.dtype
    yield "\n".join(
        (
            "NRRD0004",
            f"type: {'float' if kind == np.float32 else kind.name}",
            "dimension: 3",
            "space: left-posterior-superior",
            f"sizes: {_words(stored.grid.shape)}",
            f"space directions: {vectors}",
            "kinds: domain domain domain",
            "endian: little",
            "encoding: gzip",
            f"space origin: ({','.join(map(repr, affine[:3, 3].tolist()))})",
            "",
            "",
        )
    ).encode()
    yield from packed(planes, wbits=31)


def metaimage_pieces(stored: Volume, planes: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of a MetaImage file around the plain bytes of one channel, packed with zlib.

    MetaIO wants to know the packed length beforehand, so the packed voxels are gathered first.
    """
    content = b"".join(packed(planes, wbits=15))
    affine = LPS @ stored.grid.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    yield "\n".join(
        (
            "ObjectType = Image",
            "NDims = 3",
            "BinaryData = True",
            "BinaryDataByteOrderMSB = False",
            "CompressedData = True",
            f"CompressedDataSize = {len(content)}",
            f"TransformMatrix = {_words((affine[:3, :3] / spacing).T.ravel().tolist())}",
            f"Offset = {_words(affine[:3, 3].tolist())}",
            "CenterOfRotation = 0 0 0",
            f"ElementSpacing = {_words(spacing.tolist())}",
            f"DimSize = {_words(stored.grid.shape)}",
            f"ElementType = {META_TYPES[stored.voxels.dtype.name]}",
            "ElementDataFile = LOCAL",
            "",
        )
    ).encode()
    yield content


def packed(pieces: Iterator[bytes], *, wbits: int) -> Iterator[bytes]:
    """The pieces packed with gzip (31) or zlib (15), without a name or a time."""
    packer = isal_zlib.compressobj(level=1, wbits=wbits)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def from_lps(
    directions: NDArray[np.float64], spacing: NDArray[np.float64], origin: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The RAS+ affine of ITK's (3, 3) directions, spacing and origin."""
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = origin
    return LPS @ affine


def _words(values: Iterable[Any]) -> str:
    return " ".join(map(repr, values))
