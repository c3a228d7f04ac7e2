"""What a machine has, and what a process may take of it."""

import pytest

from volunet.errors import ConfigError
from volunet.planning.machine import SPARE_FILES, allow_open_files


def test_files_that_prepared_cases_hold_open_are_allowed_or_it_is_said():
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        allow_open_files(20)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
        allow_open_files(500)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 500 + SPARE_FILES
        with pytest.raises(ConfigError, match="1000000000 prepared cases are"):
            allow_open_files(10**9)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
