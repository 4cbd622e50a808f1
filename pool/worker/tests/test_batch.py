"""Imports do not interrupt calls, and what is forked afterwards is as important as before."""

from __future__ import annotations

import os

from pixell_runtime.batch import batch


def test_the_policy_is_batch_meanwhile_and_what_it_was_afterwards() -> None:
    before = os.sched_getscheduler(0)
    with batch():
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == before


def test_it_is_left_when_the_import_fails() -> None:
    before = os.sched_getscheduler(0)
    try:
        with batch():
            raise ImportError
    except ImportError:
        pass
    assert os.sched_getscheduler(0) == before
