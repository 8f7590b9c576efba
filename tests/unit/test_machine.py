"""Cores and memory: what a container allows counts, in both versions of control groups."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from docnats.config import cgroups, machine
from docnats.config.cgroups import cpu_quota, memory_limit

MIB = 1 << 20
GIB = 1 << 30

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 {group} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:32 {group} /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory\n"
    "34 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
)
NO_LIMIT = "9223372036854771712\n"


def tree(root: Path, group: str, mounts: str, files: Mapping[str, str]) -> Path:
    process = {"proc/self/cgroup": group, "proc/self/mountinfo": mounts}
    groups = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in (process | groups).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


class TestVersion2:
    def test_a_container_sees_its_own_group_as_the_root(self, tmp_path: Path) -> None:
        files = {"cpu.max": "150000 100000\n", "memory.max": f"{2 * GIB}\n", "memory.high": "max\n"}
        tree(tmp_path, "0::/\n", V2, files)
        assert cpu_quota(tmp_path) == 1.5
        assert memory_limit(tmp_path) == 2 * GIB

    def test_the_groups_around_it_count(self, tmp_path: Path) -> None:
        files = {
            "user.slice/cpu.max": "400000 100000\n",
            "user.slice/memory.max": f"{GIB}\n",
            "user.slice/lab.service/cpu.max": "max 100000\n",
            "user.slice/lab.service/memory.max": f"{3 * GIB}\n",
            "other.slice/memory.max": "1\n",
        }
        tree(tmp_path, "0::/user.slice/lab.service\n", V2, files)
        assert cpu_quota(tmp_path) == 4
        assert memory_limit(tmp_path) == GIB

    def test_memory_over_which_a_group_is_slowed_down_counts(self, tmp_path: Path) -> None:
        files = {"memory.max": "max\n", "memory.high": f"{GIB}\n"}
        assert memory_limit(tree(tmp_path, "0::/\n", V2, files)) == GIB

    def test_a_group_outside_of_the_namespace_is_what_is_mounted(self, tmp_path: Path) -> None:
        files = {"memory.max": f"{GIB}\n"}
        assert memory_limit(tree(tmp_path, "0::/../../else\n", V2, files)) == GIB

    def test_no_limit_is_none(self, tmp_path: Path) -> None:
        tree(tmp_path, "0::/\n", V2, {"cpu.max": "max 100000\n", "memory.max": "max\n"})
        assert cpu_quota(tmp_path) is None
        assert memory_limit(tmp_path) is None


class TestVersion1:
    def test_a_container_has_its_group_mounted(self, tmp_path: Path) -> None:
        group = "/kubepods/burstable/pod1/c1"
        files = {
            "cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": f"{2 * GIB}\n",
        }
        lines = f"12:cpu,cpuacct:{group}\n4:memory:{group}\n1:name=systemd:{group}\n0::/\n"
        tree(tmp_path, lines, V1.format(group=group), files)
        assert cpu_quota(tmp_path) == 2
        assert memory_limit(tmp_path) == 2 * GIB

    def test_the_groups_around_it_count(self, tmp_path: Path) -> None:
        files = {
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": NO_LIMIT,
            "memory/a/memory.limit_in_bytes": f"{GIB}\n",
            "memory/a/b/memory.limit_in_bytes": NO_LIMIT,
        }
        tree(tmp_path, "4:memory:/a/b\n1:cpu,cpuacct:/\n", V1.format(group="/"), files)
        assert cpu_quota(tmp_path) is None
        assert memory_limit(tmp_path) == GIB


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert memory_limit(tmp_path) is None


def test_this_system_can_be_asked() -> None:
    for limit in (cgroups.cpu_quota(), cgroups.memory_limit()):
        assert limit is None or limit > 0


class TestCores:
    @pytest.mark.parametrize(
        ("quota", "cores"),
        [(None, 8), (64.0, 8), (3.0, 3), (2.6, 3), (1.4, 1), (0.1, 1)],
    )
    def test_a_quota_counts_as_the_nearest_number(
        self, monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
        assert machine.cores() == cores


class TestMemory:
    def test_a_limit_beyond_the_machine_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "memory_limit", lambda: None)
        physical = machine.memory()
        monkeypatch.setattr(machine, "memory_limit", lambda: int(NO_LIMIT))
        assert machine.memory() == physical
        monkeypatch.setattr(machine, "memory_limit", lambda: physical // 2)
        assert machine.memory() == physical // 2

    @pytest.mark.parametrize(
        ("cores", "memory", "parsers"),
        [
            (64, 2 * GIB, 2),
            (64, 2_000_000_000, 2),
            (1, 2 * GIB, 1),
            (4, 4 * GIB, 4),
            (64, 64 * GIB, 64),
            (8, 512 * MIB, 1),
        ],
        ids=["binder", "binder-decimal", "one-core", "laptop", "server", "tiny"],
    )
    def test_a_worker_has_as_many_parsers_as_fit(
        self, monkeypatch: pytest.MonkeyPatch, cores: int, memory: int, parsers: int
    ) -> None:
        monkeypatch.setattr(machine, "cores", lambda: cores)
        monkeypatch.setattr(machine, "memory", lambda: memory)
        assert machine.most_parsers() == parsers
