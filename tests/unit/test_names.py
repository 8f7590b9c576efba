"""Names: nothing of one job, batch or namespace can be taken for another's."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats import names
from docnats.errors import ConfigError
from docnats.names import Names, ObjectNames

tokens = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a NATS filter takes a subject in."""
    wanted, parts = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted[-1:] = ["*"] * max(1, len(parts) - len(wanted) + 1)
    return len(wanted) == len(parts) and all(
        want in ("*", part) for want, part in zip(wanted, parts, strict=True)
    )


@pytest.mark.parametrize("text", ["a", "20260131-094500-3f9a1c", "A_b-9", "x" * 64])
def test_letters_digits_dash_and_underscore_make_a_token(text: str) -> None:
    assert names.valid_token(text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a.b", "a*", ">", "a b", "a\n", "é", "../x", "a/b"])
def test_anything_else_does_not(text: str) -> None:
    assert not names.valid_token(text)


def test_fresh_ids_are_tokens_and_differ() -> None:
    for fresh in names.new_job_id, names.new_batch_id, names.new_watcher:
        made = {fresh() for _ in range(200)}
        assert len(made) == 200
        assert all(names.valid_token(text) for text in made)


def test_the_keys_of_a_job_are_what_the_documents_promise() -> None:
    assert names.raw_key("j1") == "raw/j1.pdf"
    assert names.result_key("j1") == "processed/j1/"
    parts = [names.result_part("j1", part) for part in names.RESULT_PARTS]
    assert parts == [
        "processed/j1/pages.parquet",
        "processed/j1/words.parquet",
        "processed/j1/document.json",
    ]


def test_the_key_of_poison_depends_on_all_that_decides_how_a_document_ends() -> None:
    base = ("ab" * 32, "docling-parse", "7.23.1", {"a": 1, "b": 2})
    key = names.poison_key(*base)
    assert key == names.poison_key(*base[:3], {"b": 2, "a": 1})
    for place, other in enumerate(("cd" * 32, "other", "7.23.2", {"a": 1})):
        changed: list[Any] = list(base)
        changed[place] = other
        assert names.poison_key(*changed) != key
    n = Names("default")
    subject = n.poison_subject(key)
    assert matches(n.poison_filter, subject)
    assert n.poison_key_of(subject) == key


def test_the_subjects_of_a_job_are_what_the_documents_promise() -> None:
    n = Names("default")
    assert n.job_subject("b", "j") == "docnats.default.jobs.normal.b.j"
    assert n.state_subject("b", "j") == "$KV.docnats-default-states.b.j"
    assert n.states_stream == "KV_docnats-default-states"
    assert n.progress_subject("b", "j") == "docnats.default.progress.b.j"
    assert n.cancel_subject("b", "j") == "docnats.default.cancel.b.j"


@given(tokens, tokens, tokens)
def test_every_subject_reaches_its_own_stream_and_no_other(
    namespace: str, batch: str, job: str
) -> None:
    n = Names(namespace)
    streams = {
        "jobs": n.jobs_filter,
        "dead": n.dead_letters_filter,
        "advisories": n.refused_subject,
        "states": n.states_filter,
        "workers": n.workers_filter,
        "sending": n.sending_filter,
        "archives": n.archives_filter,
        "chunks": ObjectNames(n.objects_bucket).chunks_filter,
        "metas": ObjectNames(n.objects_bucket).metas_filter,
    }
    homes = {
        n.job_subject(batch, job): ["jobs"],
        n.dead_letter_subject("undecodable", job): ["dead"],
        n.refused_subject: ["advisories"],
        n.state_subject(batch, job): ["states"],
        n.worker_subject(job): ["workers"],
        n.probe_subject: ["workers"],
        n.sending_subject(batch): ["sending"],
        n.archive_subject(batch): ["archives"],
        ObjectNames(n.objects_bucket).chunks_subject(job): ["chunks"],
        ObjectNames(n.objects_bucket).meta_subject(names.raw_key(job)): ["metas"],
        n.progress_subject(batch, job): [],
        n.cancel_subject(batch, job): [],
        n.sign_subject(batch, job): [],
    }
    for subject, home in homes.items():
        assert [name for name, taken in streams.items() if matches(taken, subject)] == home
    assert matches(n.priority_filter(), n.job_subject(batch, job))
    assert matches(n.any_worker_filter, n.worker_subject(job))
    assert not matches(n.any_worker_filter, n.probe_subject)


@given(tokens, tokens, tokens, tokens)
def test_a_batchs_filters_take_in_its_jobs_and_no_others(
    batch: str, other: str, job: str, namespace: str
) -> None:
    n = Names(namespace)
    for batch_filter, subject in (
        (n.batch_jobs_filter, n.job_subject),
        (n.batch_states_filter, n.state_subject),
        (n.batch_progress_filter, n.progress_subject),
    ):
        assert matches(batch_filter(batch), subject(batch, job))
        assert matches(batch_filter(batch), subject(other, job)) is (batch == other)
    assert matches(n.batch_states_filter(), n.state_subject(batch, job))


@pytest.mark.parametrize("bad", ["*", ">", "a.b", "a b", "", "a\r\nPUB x 0"])
def test_no_subject_is_made_of_what_is_no_token(bad: str) -> None:
    n = Names("default")
    for subject in (
        n.job_subject,
        n.state_key,
        n.state_subject,
        n.progress_subject,
        n.cancel_subject,
        n.sign_subject,
    ):
        for ids in (bad, "j"), ("b", bad):
            with pytest.raises(ConfigError, match="1 to 64 characters"):
                subject(*ids)
    for of_one in (
        n.batch_jobs_filter,
        n.batch_states_filter,
        n.batch_progress_filter,
        n.worker_subject,
    ):
        with pytest.raises(ConfigError, match="1 to 64 characters"):
            of_one(bad)


@given(tokens, tokens, tokens)
def test_a_cancel_subject_tells_its_batch_and_job(namespace: str, batch: str, job: str) -> None:
    n = Names(namespace)
    subject = n.cancel_subject(batch, job)
    assert matches(n.cancels_filter, subject)
    assert n.cancelled(subject) == (batch, job)


@given(tokens, tokens, tokens)
def test_a_sign_subject_tells_its_batch_and_job(namespace: str, batch: str, job: str) -> None:
    n = Names(namespace)
    subject = n.sign_subject(batch, job)
    assert matches(n.signs_filter, subject)
    assert n.asked_for(subject) == (batch, job)


def test_a_sign_subject_that_somebody_else_made_up_is_no_job() -> None:
    with pytest.raises(ConfigError):
        Names("default").asked_for("docnats.default.sign.b.$j")


@given(tokens, tokens)
def test_namespaces_share_no_stream(one: str, two: str) -> None:
    def streams(n: Names) -> set[str]:
        return {
            n.jobs_stream,
            n.dead_letters_stream,
            n.advisories_stream,
            n.states_stream,
            n.workers_stream,
            n.sending_stream,
            n.archives_stream,
            ObjectNames(n.objects_bucket).stream,
        }

    assert streams(Names(one)).isdisjoint(streams(Names(two))) is (one != two)
    assert len(streams(Names(one))) == 8


@given(tokens)
def test_a_key_tells_whose_it_is(job: str) -> None:
    assert names.owner(names.raw_key(job)) == job
    assert {names.owner(names.result_part(job, part)) for part in names.RESULT_PARTS} == {job}
    for key in (f"{job}.pdf", f"raw/{job}", f"raw/a/{job}.pdf", f"processed/{job}"):
        assert names.owner(key) is None


@given(tokens, tokens)
def test_an_archive_tells_whose_it_is(namespace: str, batch: str) -> None:
    n = Names(namespace)
    assert names.archived_batch(n.archive_table(batch)) == (namespace, batch)
    for key in (n.archive_receipt(batch), f"batches/{batch}/jobs.parquet", names.raw_key(batch)):
        assert names.archived_batch(key) is None
        assert names.owner(n.archive_table(batch)) is None


@given(st.text(), tokens)
def test_an_object_is_read_back_from_its_subject(name: str, upload: str) -> None:
    o = ObjectNames("b")
    assert o.object_of(o.meta_subject(name)) == name
    assert o.upload_of(o.chunks_subject(upload)) == upload
    assert o.object_of("$O.b.M.not base64!") is None


@given(tokens, tokens)
def test_the_states_of_other_namespaces_are_recognised(one: str, two: str) -> None:
    mine, other = Names(one), Names(two)
    streams = [mine.states_stream, other.states_stream, other.workers_stream, "KV_elsewhere"]
    expected = {two: other.states_stream} if one != two else {}
    assert mine.foreign_states(streams) == expected
    assert mine.job_of(mine.state_subject(one, two)) == (one, two)


def test_advisories_are_those_of_the_jobs_stream_and_of_its_workers() -> None:
    n = Names("default")
    assert n.advisories_filters == (
        "docnats.default.refused",
        f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{n.jobs_stream}.>",
        f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{n.jobs_stream}.>",
    )


@given(tokens, tokens, tokens)
def test_a_job_is_read_back_from_its_subject(namespace: str, batch: str, job: str) -> None:
    n = Names(namespace)
    assert n.addressee(n.job_subject(batch, job)) == (batch, job)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "docnats.default.jobs.normal.b",
        "docnats.default.jobs.normal.b.j.k",
        "docnats.default.jobs.normal.b.j k",
        "docnats.default.jobs.normal.b.ü",
        "docnats.other.jobs.normal.b.j",
        "x.docnats.default.jobs.normal.b.j",
        "docnats.default.dead.undecodable.b.j",
    ],
)
def test_a_subject_that_names_no_job_names_none(subject: str) -> None:
    assert Names("default").addressee(subject) is None
