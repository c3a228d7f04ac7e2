"""Fetching a file of weights, when someone asks for it by its address and its SHA-256.

Nothing else in volunet opens a connection. Addresses begin with https; http is taken from this very
machine only, such as a mirror that listens on 127.0.0.1.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from volunet.errors import ModelError
from volunet.io.atomic import write_bytes

HERE = ("127.0.0.1", "::1", "localhost")
CHUNK = 2**20
WAIT_S = 60.0


def fetch_weights(url: str, folder: str | os.PathLike[str], *, sha256: str) -> Path:
    """The file at an address, kept in a folder under the last part of the address.

    It is written aside and takes its name once its SHA-256 is right. A file of that name which has
    the SHA-256 is returned, and nothing is fetched.

    Args:
        url: https, or http on this machine.
        folder: made where it is missing.
        sha256: 64 hexadecimal digits, from whoever published the file.

    Raises:
        ModelError: the address is none of those, the server does not answer, what it sends has
            another SHA-256, or a file of that name with another one lies in the folder.
        WriteError: the file cannot be written.
    """
    wanted, path = _checked_hash(sha256), Path(folder) / _checked_name(url)
    if path.exists():
        if _hash_of(path) == wanted:
            return path
        raise ModelError(
            f"{path} is there and has another SHA-256 than {wanted}. Remove it, or give another "
            f"folder."
        )
    path.parent.mkdir(parents=True, exist_ok=True)

    def verify(part: Path) -> None:
        found = _hash_of(part)
        if found != wanted:
            raise ModelError(
                f"{url} sent a file of SHA-256 {found}, not {wanted}. It was not kept: it is "
                f"damaged, or no longer the file that was published."
            )

    return write_bytes(path, _chunks(url), verify=verify)


def _chunks(url: str) -> Iterator[bytes]:
    try:
        with _opener(url).open(Request(url), timeout=WAIT_S) as answer:
            yield from iter(lambda: answer.read(CHUNK), b"")
    except (OSError, HTTPException) as error:
        raise ModelError(
            f"{url} could not be fetched: {error}. See whether the address is right, "
            f"and try again later."
        ) from error


def _opener(url: str) -> OpenerDirector:
    handlers = [_SafeRedirect(), *([ProxyHandler({})] if urlsplit(url).hostname in HERE else [])]
    return build_opener(*handlers)


class _SafeRedirect(HTTPRedirectHandler):
    """Follows a server to another address only where that address could have been asked for."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> Request | None:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in HERE):
        return
    raise ModelError(f"{url} is no address that begins with https://; weights come by no other.")


def _checked_name(url: str) -> str:
    _check_scheme(url)
    name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    if not name or name.startswith(".") or "\\" in name or "\0" in name:
        raise ModelError(f"{url} does not end in the name of a file; give the file's own address.")
    return name


def _checked_hash(sha256: str) -> str:
    wanted = sha256.strip().lower()
    if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
        raise ModelError(
            f"A SHA-256 has 64 hexadecimal digits, got {sha256!r}. It stands beside the file where "
            f"that is published, or is what sha256sum gives for a copy that you trust."
        )
    return wanted


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
