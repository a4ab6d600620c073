"""Whose something is: where a pid says nothing, nobody is known to be dead."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backends.containers import sweep
from harness.backends.kubernetes import sweep as clusters
from harness.containers.labels import OWNER, owned, owner
from harness.runtime import owner as owners
from harness.runtime.identity import Identity
from harness.runtime.owner import Owner

GONE = Identity(2**22 + 1, 1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Owner:
    """This process, on a machine that has an id."""
    machine_id = tmp_path / "machine-id"
    machine_id.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(owners, "_MACHINE_ID", machine_id)
    return Owner.me()


def test_an_owner_is_a_word_that_a_label_an_annotation_and_a_container_s_name_may_have(
    here: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the host is called; the machine's own id is not told."""
    monkeypatch.setattr(socket, "gethostname", lambda: "ml.box 7/ü")
    odd = Owner.me()
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", str(odd))
    assert Owner.parse(str(odd)) == odd
    assert "0123456789abcdef0123456789abcdef" not in str(here)
    assert here.words == f"process {here.process.pid} of {here.host}"


@pytest.mark.parametrize("text", ["", "somebody", "4711:123456", "host boot 4711:123456", "x.1.2.3.4.5"])
def test_what_names_no_owner_is_nobody_s(text: str) -> None:
    """Also the labels of earlier versions, which did not say where a pid was one."""
    assert Owner.parse(text) is None


def test_a_process_is_known_to_be_dead_where_its_pid_means_something(here: Owner) -> None:
    assert not here.dead()
    assert replace(here, process=GONE).dead()
    assert replace(here, process=replace(here.process, start=here.process.start + 1)).dead()
    assert not replace(here, process=GONE, namespace="1").dead(), "a container beside this one, on one engine"


def test_a_restart_ends_what_a_machine_ran_if_it_is_that_machine(here: Owner) -> None:
    """Two machines may have one host name, and containers of one image one machine id."""
    before = replace(here, boot="of another start of a kernel")
    assert before.dead()
    assert not replace(before, machine="another").dead()
    assert not replace(before, host="another").dead()
    assert not replace(before, machine="").dead()


@pytest.mark.parametrize("told", [None, "", "uninitialized\n"])
def test_a_machine_without_an_id_is_no_known_machine(
    told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_id = tmp_path / "machine-id"
    if told is not None:
        machine_id.write_text(told)
    monkeypatch.setattr(owners, "_MACHINE_ID", machine_id)
    me = Owner.me()
    assert me.machine == ""
    assert not replace(me, boot="another").dead()
    assert replace(me, process=GONE).dead()


def test_the_labels_of_what_this_process_makes_name_it() -> None:
    assert owner(owned("run")) == Owner.me()
    assert owner({}) is None


def test_on_a_shared_engine_only_what_is_known_to_be_dead_is_removed(
    here: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A living stranger has a pid that is nobody's here."""
    dead, beside = replace(here, process=GONE), replace(here, process=GONE, namespace="1")
    away = replace(here, process=GONE, boot="b", machine="m", host="h")
    told = [str(here), str(dead), str(beside), str(away), "4711:123456"]
    monkeypatch.setattr(sweep, "_owners", lambda kind: told)
    monkeypatch.setattr(sweep, "_states", list)
    removed: list[str] = []

    def remove(label: str) -> list[str]:
        removed.append(label)
        return []

    monkeypatch.setattr(sweep, "remove", remove)
    assert sweep.gc() == []
    assert removed == [f"{OWNER}={dead}"]


def test_a_stranger_s_cluster_is_not_one_that_was_left(here: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state file lies on its own machine."""
    labels = {clusters.STATE_LABEL: "/nowhere"}
    monkeypatch.setattr(clusters, "network_labels", lambda name: labels)
    labels[clusters.OWNER_LABEL] = str(replace(here, process=GONE))
    assert clusters._orphan("rehearsal-x")
    labels[clusters.OWNER_LABEL] = str(replace(here, process=GONE, boot="b", machine="m"))
    assert not clusters._orphan("rehearsal-x")
