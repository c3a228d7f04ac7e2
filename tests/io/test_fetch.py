"""A file is fetched when asked for by address and hash, and kept only with that hash."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from volunet.errors import ModelError
from volunet.io.fetch import fetch_weights

CONTENT = bytes(range(256)) * 9000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOVED = {
    "/moved.pth": "/weights.pth",
    "/away.pth": "http://192.0.2.1/weights.pth",
    "/file.pth": "file:///etc/hostname",
}


class Mirror(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path in MOVED:
            self.send_response(302)
            self.send_header("Location", MOVED[self.path])
            self.end_headers()
        elif self.path in ("/weights.pth", "/cut.pth"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/weights.pth" else CONTENT[:1000])
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as made:
        made.asked = []
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def mirror(server):
    server.asked.clear()
    return f"http://127.0.0.1:{server.server_port}"


def test_a_file_is_fetched_once(server, mirror, tmp_path):
    path = fetch_weights(f"{mirror}/weights.pth", tmp_path / "kept", sha256=SHA256)
    assert path == tmp_path / "kept/weights.pth"
    assert path.read_bytes() == CONTENT
    assert fetch_weights(f"{mirror}/weights.pth", tmp_path / "kept", sha256=SHA256.upper()) == path
    assert server.asked == ["/weights.pth"]


def test_a_file_that_moved_within_what_may_be_asked_is_fetched(server, mirror, tmp_path):
    path = fetch_weights(f"{mirror}/moved.pth", tmp_path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["/moved.pth", "/weights.pth"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("away.pth", "no address that begins with https"),
        ("file.pth", "is not allowed"),
        ("cut.pth", r"sent a file of SHA-256 [0-9a-f]{64}, not|could not be fetched"),
        ("absent.pth", "could not be fetched: HTTP Error 404.*address is right"),
    ],
)
def test_what_does_not_arrive_as_published_is_not_kept(name, advice, mirror, tmp_path):
    with pytest.raises(ModelError, match=advice):
        fetch_weights(f"{mirror}/{name}", tmp_path, sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_another_hash_is_told_and_nothing_is_kept(mirror, tmp_path):
    with pytest.raises(ModelError, match=f"SHA-256 {SHA256}, not 0000.*was not kept"):
        fetch_weights(f"{mirror}/weights.pth", tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_that_name_with_another_hash_is_left_alone(server, mirror, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"mine")
    with pytest.raises(ModelError, match="Remove it, or give another folder"):
        fetch_weights(f"{mirror}/weights.pth", tmp_path, sha256=SHA256)
    assert (tmp_path / "weights.pth").read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize(
    ("url", "sha256", "advice"),
    [
        ("http://example.org/weights.pth", SHA256, "begins with https://"),
        ("ftp://127.0.0.1/weights.pth", SHA256, "begins with https://"),
        ("file:///etc/hostname", SHA256, "begins with https://"),
        ("weights.pth", SHA256, "begins with https://"),
        ("https://example.org/folder/", SHA256, "does not end in the name of a file"),
        ("https://example.org/%2e%2e", SHA256, "does not end in the name of a file"),
        ("https://example.org/weights.pth", "", "64 hexadecimal digits"),
        ("https://example.org/weights.pth", "z" * 64, "64 hexadecimal digits"),
    ],
)
def test_addresses_and_hashes_that_cannot_be_right_are_refused_unasked(
    url, sha256, advice, tmp_path
):
    with pytest.raises(ModelError, match=advice):
        fetch_weights(url, tmp_path, sha256=sha256)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ModelError, match="could not be fetched"):
        fetch_weights("http://127.0.0.1:1/weights.pth", tmp_path, sha256=SHA256)
