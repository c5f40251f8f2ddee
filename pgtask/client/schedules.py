"""Schedules over REST."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from pgtask.client.listing import all_of
from pgtask.client.records import record
from pgtask.client.transport import Transport, path_to
from pgtask.model.schedule import PausedSchedule, Schedule, ScheduleRecord, TickRecord


class ScheduleCalls:
    """Recurring jobs. See pgtask.model.operations."""

    _transport: Transport

    def list_schedules(self) -> list[ScheduleRecord]:
        """All schedules, by name."""
        return all_of(self._transport, "/schedules", ScheduleRecord)

    def known_schedules(self) -> list[str]:
        """The names of all schedules."""
        return [schedule.name for schedule in self.list_schedules()]

    def read_schedule(self, name: str) -> ScheduleRecord:
        """One schedule. Raises ScheduleNotFoundError."""
        return record(ScheduleRecord, self._transport.get(self._path(name)))

    def list_ticks(self, schedule: ScheduleRecord, limit: int) -> list[TickRecord]:
        """The latest ticks of a schedule, newest first."""
        found = self._transport.get(path_to("schedules", schedule.id, "ticks"), {"limit": limit})
        return [record(TickRecord, tick) for tick in found["items"]]

    def create_schedule(self, schedule: Schedule) -> None:
        """Makes a schedule."""
        given = {field.name: getattr(schedule, field.name) for field in fields(schedule)}
        # What was not given takes its default there.
        chosen = {name: value for name, value in given.items() if value is not None and value != ()}
        self._transport.post("/schedules", _plain(chosen))

    def set_schedule(self, name: str, changes: Mapping[str, Any]) -> None:
        """Changes fields of a schedule."""
        self._transport.patch(self._path(name), _plain(changes))

    def pause_schedules(self, names: Iterable[str]) -> list[PausedSchedule]:
        """Pauses schedules, none where one is not there."""
        paused = []
        for schedule in self._every_schedule(names):
            found = record(ScheduleRecord, self._transport.post(path_to("schedules", schedule.id, "pause")))
            assert found.paused_at is not None
            paused.append(PausedSchedule(found.name, found.paused_at))
        return paused

    def resume_schedules(self, names: Iterable[str]) -> set[str]:
        """Resumes schedules, none where one is not there, and returns those that were paused."""
        found = self._every_schedule(names)
        for schedule in found:
            self._transport.post(path_to("schedules", schedule.id, "resume"))
        return {schedule.name for schedule in found if schedule.paused_at is not None}

    def run_schedule(self, name: str) -> int:
        """Enqueues a job of a schedule now and returns its id."""
        return int(self._transport.post(self._path(name) + "/run")["job_id"])

    def delete_schedule(self, name: str) -> None:
        """Deletes a schedule; its jobs stay."""
        self._transport.delete(self._path(name))

    def _every_schedule(self, names: Iterable[str]) -> list[ScheduleRecord]:
        return [self.read_schedule(name) for name in sorted(set(names))]

    def _path(self, name: str) -> str:
        if not name.isdigit() and name != "preview":
            return path_to("schedules", name)
        # Digits alone would be taken for the number of a schedule, and /schedules/preview is something else.
        found = all_of(self._transport, "/schedules", ScheduleRecord, search=name)
        return path_to("schedules", next((schedule.id for schedule in found if schedule.name == name), "no " + name))


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(changes)
    if "payload" in plain:
        plain["payload"] = json.loads(plain["payload"])
    if "tags" in plain:
        plain["tags"] = list(plain["tags"] or ())
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in plain.items()}
