"""Where things are kept for the user."""

from pathlib import Path

import pytest

from volunet.io.user_cache import cache_folder


@pytest.mark.parametrize(
    ("named", "kept"), [("", ".cache"), ("not/absolute", ".cache"), ("/scratch/me", "/scratch/me")]
)
def test_the_folder_is_the_user_s_or_the_one_that_is_named(monkeypatch, tmp_path, named, kept):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert cache_folder("prepared") == tmp_path / Path(kept) / "volunet" / "prepared"
