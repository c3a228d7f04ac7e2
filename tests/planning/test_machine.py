"""What a machine has, and what a process may take of it."""

import pytest

from volunet.errors import ConfigError
from volunet.planning.machine import SPARE_FILES, allow_open_files, memory_limits


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


def test_the_least_limit_of_all_groups_around_a_process_counts(tmp_path):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    job = root / "system.slice" / "job_7"
    (job / "step_0").mkdir(parents=True)
    (root / "memory.max").write_text("max\n")
    (job / "memory.max").write_text("17179869184\n")
    (job / "step_0" / "memory.max").write_text("max\n")
    old = root / "memory" / "job_7"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("8589934592\n")
    (old.parent / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    groups.write_text("4:cpu,memory:/job_7\n3:cpuset:/\n0::/system.slice/job_7/step_0\n")
    assert sorted(memory_limits(groups, root)) == [2**33, 2**34, 9223372036854771712]
    groups.write_text("0::/of/another/mount\n")
    (root / "memory.max").write_text("1024\n")
    assert memory_limits(groups, root) == [1024]
    assert memory_limits(tmp_path / "none", root) == []
