"""The dashboard and the alerts ask for metrics and labels that there are; the page tells of all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from docnats.telemetry.metrics import ClientMetrics, WorkerMetrics

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/grafana/docnats.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
PAGE = ROOT / "docs/monitoring.md"

SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
    "gauge": ("",),
}
OF_EVERY_TARGET = {"job", "instance"}
"""Labels that Prometheus itself gives."""

_STRING = re.compile(r'"[^"]*"')
_RANGE = re.compile(r"\[[^\]]*\]")
_MATCHERS = re.compile(r"\{[^}]*\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORD = re.compile(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()")
_OPERATORS = {"and", "or", "unless", "bool", "offset"}


class Asked(NamedTuple):
    """What a PromQL expression asks for."""

    metrics: set[str]
    labels: set[str]


def parse(expression: str) -> Asked:
    """Return the names of the metrics and of the labels in an expression."""
    bare = _RANGE.sub("", _STRING.sub('""', expression))
    labels = {label for block in _MATCHERS.findall(bare) for label in _LABEL.findall(block)}
    bare = _MATCHERS.sub("", bare)
    for names in _GROUPING.findall(bare):
        labels.update(name.strip() for name in names.split(",") if name.strip())
    words = _WORD.findall(_GROUPING.sub("", bare))
    return Asked({word for word in words if word not in _OPERATORS}, labels)


def series() -> dict[str, set[str]]:
    """Return the labels of every series that workers and clients have, by name."""
    found: dict[str, set[str]] = {}
    for registry in (WorkerMetrics("w", "1").registry, ClientMetrics().registry):
        for collector in registry._collector_to_names:
            labels = set(getattr(collector, "_labelnames", ()))
            for metric in collector.collect():
                for suffix in SUFFIXES[metric.type]:
                    extra = {"le"} if suffix == "_bucket" else set()
                    if metric.type == "info":
                        extra = {"worker", "version"}
                    found[metric.name + suffix] = labels | extra
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression with a name for it."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']} {target['refId']}", target["expr"]
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def test_the_names_in_an_expression_are_found() -> None:
    asked = parse(
        'histogram_quantile(0.9, sum by (le, a) (rate(x_bucket{b=~"y{z}", c!="d"}[5m]))) '
        "and on (e) y:z > 1e3 or absent(w) unless bool 0"
    )
    assert asked == Asked({"x_bucket", "y:z", "w"}, {"le", "a", "b", "c", "e"})


@pytest.mark.parametrize(
    "expression", [pytest.param(asked, id=name) for name, asked in expressions()]
)
def test_what_is_asked_for_is_there(expression: str) -> None:
    known = series()
    asked = parse(expression)
    assert asked.metrics
    assert asked.metrics <= set(known), asked.metrics - set(known)
    labels = OF_EVERY_TARGET.union(*(known[name] for name in asked.metrics))
    assert asked.labels <= labels, asked.labels - labels


def test_every_metric_of_docnats_is_on_the_dashboard() -> None:
    shown = {
        name for label, one in expressions() if "panel" in label for name in parse(one).metrics
    }
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series() if "docnats" in name}
    assert ours - families == set()


def test_every_metric_has_its_line_in_the_page_and_the_page_no_other() -> None:
    page = set(re.findall(r"^\| `(docnats_\w+)`", PAGE.read_text(), re.MULTILINE))
    ours = {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in series() if name.startswith("docnats")
    }
    assert page == ours


def test_the_dashboard_has_what_grafana_needs() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {
        "datasource",
        "job",
    }
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"


def test_every_alert_says_what_is_wrong_and_how_bad_it_is() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) > 5
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+m", rule.get("for", "0m"))
