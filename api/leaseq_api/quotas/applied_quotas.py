"""The quotas of tenants, as one process applies them.

Unfinished tasks of tenants with such a quota are listed in the ledger, each in the transaction that
records its task. Every second a process reads the quotas and counts the list, so that it knows what
other processes have accepted, and a sweep removes tasks that have ended. Nothing of this is on the
way of a submission, and a tenant without a quota takes no part in it.

Invariants: no submission of a tenant with a quota is accepted on a look that began more than
`FRESH_SECONDS` ago. So a limit on unfinished tasks is exceeded at most by what other processes have
accepted in that time. A submission whose key stands for a task already is answered at the limit,
too, and counts nothing. Redis has no part in it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date
from uuid import uuid4

from msgspec import Struct

from leaseq.errors import ServerUnreachable
from leaseq.loop import end, run_forever
from leaseq.model import Submission, Submitted
from leaseq.observability.telemetry import emit
from leaseq.operations.quotas import Quotas
from leaseq.operations.tenant_client import TenantClient
from leaseq_api.quotas.headers import Header
from leaseq_api.quotas.standing import Day, Excess, Standing
from leaseq_api.quotas.sweep import Sweep
from leaseq_api.refused import Refused

LOOK_SECONDS = 1.0
FRESH_SECONDS = 5.0
TOLD_EVERY_SECONDS = 60.0

Answer = Submitted | BaseException


class Admitted(Struct):
    """The submissions of a batch that are recorded, and the refusals of the others, by place."""

    places: list[int]
    submissions: list[Submission]
    begun: list[bool]  # the room that each of them takes is noted
    refused: dict[int, Refused]


class Room:
    """The room that the submissions of one batch take. A submission whose key stands for a task
    already, or for an earlier one of the batch, takes none."""

    def __init__(self, standing: Standing, now: float) -> None:
        self.begun: dict[str, Submission] = {}
        self.excess: dict[str, Excess] = {}
        self._standing = standing
        self._now = now
        self._keys: set[str] = set()

    def take(self, submission: Submission) -> None:
        """Note the room that a submission takes, or the quota that it exceeds."""
        key = submission.idempotency_key
        if key is not None and key in self._keys:
            return
        beyond = self._standing.excess(submission, self._now)
        if beyond is not None:
            self.excess[submission.task_id] = beyond
            return
        self._standing.begin(submission)
        self.begun[submission.task_id] = submission
        if key is not None:
            self._keys.add(key)

    def pass_replays(self, batch: Sequence[Submission], replays: set[str]) -> None:
        """Let those pass whose keys stand for tasks, and give their room to the others."""
        for task_id in replays & self.begun.keys():
            self._standing.end(self.begun.pop(task_id), counts=False, day=None)
        excess, self.excess = self.excess, {}
        for submission in batch:
            if submission.task_id in excess and submission.task_id not in replays:
                self.take(submission)

    def leave(self) -> None:
        """Give back all room."""
        for submission in self.begun.values():
            self._standing.end(submission, counts=False, day=None)


class AppliedQuotas:
    """The quotas of all tenants in one process."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._loop = asyncio.get_running_loop()
        self._standings: dict[str, Standing] = {}
        self._looking: asyncio.Task[None] | None = None
        self._process = str(uuid4())
        # The bytes that this process has accepted, by tenant and day, and those that are written.
        self._own_bytes: dict[str, Counter[date]] = {}
        self._written: dict[tuple[str, date], int] = {}
        self._forgotten: date | None = None
        self._sweep = Sweep(quotas)

    def of(self, tenant: str) -> Standing | None:
        """The quotas of a tenant; None: it has none."""
        return self._standings.get(tenant)

    async def submit(
        self, standing: Standing, tasks: TenantClient, submission: Submission
    ) -> tuple[Submitted, list[Header]]:
        """Record the task of a tenant with quotas. Raises what `TenantClient.submit` raises, and
        `Refused`."""
        now = self._loop.time()
        begun = now <= standing.stale_at and standing.excess(submission, now) is None
        if begun:
            standing.begin(submission)
        else:
            admitted = await self._admit(standing, [submission])
            if admitted.refused:
                raise admitted.refused[0]
            (begun,) = admitted.begun
        try:
            answer = await tasks.submit(submission)
        except BaseException as error:
            _note(standing, submission, error, begun=begun, now=self._loop.time())
            raise
        _note(standing, submission, answer, begun=begun, now=now)
        return answer, standing.headers(submission.queue, now)

    async def submit_many(
        self, standing: Standing, tasks: TenantClient, batch: Sequence[Submission]
    ) -> list[Answer]:
        """Record tasks of one tenant with quotas; an answer for each. Those beyond a quota fail
        alone, with `Refused`."""
        admitted = await self._admit(standing, batch)
        found: Sequence[Answer] = []
        try:
            if admitted.places:
                found = await tasks.submit_many(admitted.submissions)
        except BaseException as error:
            found = [error] * len(admitted.places)
            raise
        finally:
            noted = zip(admitted.submissions, found, admitted.begun, strict=True)
            for submission, answer, begun in noted:
                _note(standing, submission, answer, begun=begun, now=self._loop.time())
        answers = dict(zip(admitted.places, found, strict=True)) | admitted.refused
        return [answers[place] for place in range(len(batch))]

    async def fresh(self, tenant: str) -> Standing | None:
        """The quotas of a tenant, from a look that is not too old. Raises `ServerUnreachable`."""
        standing = self._standings.get(tenant)
        if standing is not None:
            await self._refresh(standing)
        return self._standings.get(tenant)

    async def look(self) -> None:
        """Read the quotas as they are now, and the use of each. Raises `ServerUnreachable`."""
        if self._looking is not None and not self._looking.done():
            await asyncio.wait([self._looking])
        await self._share_look()

    async def keep_fresh(self, *, stop: asyncio.Event) -> None:
        """Look, sweep and write until `stop` is set."""
        await asyncio.gather(
            run_forever(self.look, name="quotas", interval_seconds=LOOK_SECONDS, stop=stop),
            run_forever(self.sweep, name="quota sweep", interval_seconds=LOOK_SECONDS, stop=stop),
            run_forever(
                self.write_bytes, name="quota bytes", interval_seconds=LOOK_SECONDS, stop=stop
            ),
        )

    async def aclose(self) -> None:
        """Write the bytes that were accepted since the last time."""
        if self._looking is not None:
            await end(self._looking)
        with suppress(ServerUnreachable):
            await self.write_bytes()

    async def sweep(self) -> None:
        """Remove tasks that have ended from the list. Raises `ServerUnreachable`."""
        limited = {name for name, each in self._standings.items() if each.lists_tasks}
        await self._sweep.run(limited)

    async def write_bytes(self) -> None:
        """Write the bytes that this process has accepted. Raises `ServerUnreachable`."""
        sums = {
            (tenant, day): count
            for tenant, own in self._own_bytes.items()
            for day, count in own.items()
        }
        changed = {key: count for key, count in sums.items() if self._written.get(key) != count}
        if not changed:
            return
        await self._quotas.write_payload_bytes(self._process, changed)
        self._written |= changed
        day = max(day for _, day in sums)
        if day != self._forgotten:
            await self._quotas.forget_payload_bytes(day)
            self._forgotten = day
            self._forget_own(day)

    def _forget_own(self, today: date) -> None:
        for own in self._own_bytes.values():
            for day in [day for day in own if (today - day).days > 1]:
                del own[day]
        self._written = {
            (tenant, day): count
            for (tenant, day), count in self._written.items()
            if (today - day).days <= 1
        }

    async def _look(self) -> None:
        began = self._loop.time()
        found = await self._quotas.find_limits()
        day = Day(found.day, self._loop.time() + found.seconds_left)
        for tenant, limits in found.tenants.items():
            standing = self._standings.get(tenant)
            if standing is None:
                # It is not fresh before its use is known.
                own = self._own_bytes.setdefault(tenant, Counter())
                standing = self._standings[tenant] = Standing(tenant, day, own)
            standing.set_limits(limits)
        for tenant in self._standings.keys() - found.tenants.keys():
            del self._standings[tenant]
        lists = {name for name, each in self._standings.items() if each.lists_tasks}
        self._quotas.list_tasks_of(lists)
        listed: dict[str, Counter[str]] = {}
        if lists or found.any_listed:
            for (tenant, queue), count in (await self._quotas.count_unfinished()).items():
                listed.setdefault(tenant, Counter())[queue] = count
        for tenant, standing in self._standings.items():
            of_tenant = listed.get(tenant) if tenant in lists else None
            standing.see_listed(of_tenant or Counter())
        self._sweep.see_listed(listed)
        sums: dict[str, int] = {}
        if any(each.payload_bytes_per_day is not None for each in found.tenants.values()):
            sums = await self._quotas.sum_payload_bytes(self._process, found.day)
        for tenant, standing in self._standings.items():
            standing.day, standing.other_bytes = day, sums.get(tenant, 0)
            standing.stale_at = began + FRESH_SECONDS

    async def _share_look(self) -> None:
        """Look, or wait for the look that is under way. Its error is that of all who wait."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
            # The waiters may have been cancelled.
            self._looking.add_done_callback(lambda look: look.cancelled() or look.exception())
        await asyncio.shield(self._looking)

    async def _refresh(self, standing: Standing) -> None:
        """Look if the last look is too old. Raises `ServerUnreachable`."""
        if self._loop.time() <= standing.stale_at:
            return
        await self._share_look()
        if self._loop.time() > standing.stale_at:
            raise ServerUnreachable("Postgres took too long to answer for the quotas of a tenant")

    async def _admit(self, standing: Standing, batch: Sequence[Submission]) -> Admitted:
        """Find which of these may be recorded, and note the room that they take."""
        await self._refresh(standing)
        room = Room(standing, self._loop.time())
        for submission in batch:
            room.take(submission)
        if room.excess:
            try:
                replays = await self._quotas.find_replays(batch)
            except BaseException:
                room.leave()
                raise
            room.pass_replays(batch, replays)
        admitted = Admitted([], [], [], {})
        for place, submission in enumerate(batch):
            beyond = room.excess.get(submission.task_id)
            if beyond is not None:
                admitted.refused[place] = self._refusal(standing, submission, beyond)
            else:
                admitted.places.append(place)
                admitted.submissions.append(submission)
                admitted.begun.append(submission.task_id in room.begun)
        return admitted

    def _refusal(self, standing: Standing, submission: Submission, beyond: Excess) -> Refused:
        now = self._loop.time()
        if now - standing.told_at.get(beyond.policy, float("-inf")) >= TOLD_EVERY_SECONDS:
            standing.told_at[beyond.policy] = now
            emit("quota.exceeded", policy=beyond.policy, tenant=standing.tenant)
        return Refused(
            beyond.code,
            beyond.detail,
            retry_after=beyond.retry_after,
            headers=standing.headers(submission.queue, now),
        )


def _note(
    standing: Standing, submission: Submission, answer: Answer, *, begun: bool, now: float
) -> None:
    """Note the outcome of a submission. Where it is unknown, the task counts until the next look;
    its bytes count where the client has gone, and not where Postgres has: then the next submission
    waits for a look."""
    if isinstance(answer, ServerUnreachable):
        standing.stale_at = float("-inf")
    day: date | None = None
    created = isinstance(answer, Submitted) and not answer.replayed
    if created and standing.limits.payload_bytes_per_day is not None:
        day = answer.created_at.astimezone(UTC).date()  # type: ignore[union-attr]
    if isinstance(answer, asyncio.CancelledError) and standing.limits.payload_bytes_per_day:
        day = standing.day.at(now).date
    if begun:
        unknown = isinstance(answer, asyncio.CancelledError | ServerUnreachable)
        standing.end(submission, counts=created or unknown, day=day)
    elif created:  # its key has expired meanwhile
        standing.add(submission.queue, 1)
        if day is not None:
            standing.add_bytes(submission, day)


__all__ = ["FRESH_SECONDS", "LOOK_SECONDS", "AppliedQuotas"]
