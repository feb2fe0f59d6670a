"""One run of the state machine, from empty stores to the final judgement.

The world moves one operation at a time. Time passes only in `pass_time`, for all actors together:
for the loop of the actors, for what Postgres has written down of time, and for the leases in Redis.
So nothing here sleeps, and a lease of a minute is over when the test says so.
"""

from __future__ import annotations

from leaseq.codec import fingerprint
from leaseq.errors import IdempotencyInFlight, IdempotencyKeyReused, TaskConflict, TaskNotFound
from leaseq.model import DEFAULT_TENANT, Lane, Outcome, Priority, State, Submission
from leaseq.observability.telemetry import Event, subscribe
from leaseq_reaper.reconcile.ledger_scan import first_id_at
from simulation.actors import FIRST_HAND, QUEUE, Actor, Ground, Hand, Sidecar
from simulation.gates import Stand, Verdict, Yard
from simulation.model import Model, move_of
from simulation.servers import LEASE_SECONDS, Servers
from simulation.tombstones import RESET as RESET_OPERATIONS
from simulation.tombstones import Tombstones
from support.dispatch import KEYS
from support.ledger import submission

POSTS = ("worker1", "worker2", "hermit")  # the hermit serves the suspect lane, alone
LOOK_SECONDS = 24.0  # between two passes of a reaper that is awake: less than half a lease
PATIENCE_SECONDS = 1.5  # longer than any wait of a worker, or of a reaper for another
MANY_STEPS = 3000
MANY_ROUNDS = 15
EPOCH = 1_700_000_000.0

RESET = """
delete from leaseq.tasks; delete from leaseq.scheduled; delete from leaseq.idempotency_keys; delete from leaseq.attempts;
delete from leaseq.workers; delete from leaseq.heartbeats; delete from leaseq.queues;
delete from machine.moves; delete from machine.effects;
insert into leaseq.queues (name) values ('default')
"""
MOVES = """
select number, task_id, state_before, state, attempt_before, attempt, crash_count, closed from machine.moves order by number
"""
EFFECTS = "select task_id, attempt from machine.effects"
UNREST = """
select 'task ' || id || ' ' || state from leaseq.tasks where state in ('PENDING', 'SCHEDULED', 'PROCESSING')
union all select 'scheduled ' || task_id from leaseq.scheduled
"""
# Closed without first-hand evidence, although it had beaten within a lease.
HASTY = """
select id || ' was closed at once: ' || close_reason from leaseq.workers
where not close_reason = any(%s) and closed_at - last_seen < make_interval(secs => %s)
"""
OPEN = "select id from leaseq.workers where id = any(%s) and closed_at is null"
CLOSED = """
select id from unnest(%s::text[]) as w (id)
where not exists (select from leaseq.workers as o where o.id = w.id and o.closed_at is null)
"""
OLDER = """
with seen as (
        update leaseq.workers
        set last_seen = last_seen - make_interval(secs => %(seconds)s), closed_at = closed_at - make_interval(secs => %(seconds)s)
    ),
    beats as (update leaseq.heartbeats set seen_at = seen_at - make_interval(secs => %(seconds)s)),
    due as (update leaseq.scheduled set run_at = run_at - make_interval(secs => %(seconds)s))
update leaseq.tasks set run_at = run_at - make_interval(secs => %(seconds)s)
where id in (select id from leaseq.tasks for update skip locked)
"""


class World:
    """One run."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.seen = servers.seen
        self.model = Model()
        self.tombstones = Tombstones(servers, self.model)
        self.yard = Yard()
        self.ground = Ground(
            servers.config, self.yard, servers.lines, servers.redis.connection_pool, self.model.book
        )
        self.clients: list[Actor] = []
        self.hands: list[Hand] = []
        self.reapers: list[Sidecar] = []
        self.dead: list[str] = []
        self._deaf = subscribe(self._hear)
        self._events: list[Event] = []
        self._known: set[int] = set()

    async def begin(self) -> None:
        """Empty stores, and all actors at their posts."""
        await self.servers.sql(f"{RESET};{RESET_OPERATIONS}")
        await self.servers.redis.flushall()
        self.clients = [Actor(self.ground, "client")]
        self.reapers = [Sidecar(self.ground, f"reaper{number}") for number in (1, 2)]
        self.hands = [Hand(self.ground, name, isolated=name == "hermit") for name in POSTS]
        for hand in self.hands:
            await self.act(hand, "hire")
            await self.drive(hand, "hire")

    # Actions of actors

    async def submit(
        self, key: str | None, body: str, kind: str, *, priority: Priority, delay: float | None
    ) -> None:
        """A client submits; its answer is recorded when it arrives."""
        wanted = submission(
            task_id=first_id_at(EPOCH + len(self.model.lives) / 1000),
            type=kind,
            payload=b'{"body":"%s"}' % body.encode(),
            fingerprint=fingerprint([kind, body]),
            idempotency_key=key,
            priority=priority,
            delay_seconds=delay,
            max_attempts=1000,
            timeout_seconds=1000.0,
        )
        self.model.asked(wanted)
        client = self.clients[0]
        client.begin(f"submit {wanted.task_id}", lambda: self._submit(client, wanted))
        await self.yard.quiet()

    async def _submit(self, client: Actor, wanted: Submission) -> None:
        try:
            answer = await client.engine.submit(wanted)
        except IdempotencyKeyReused as error:
            self.seen["a key with other content"] += 1
            self.model.refused(wanted, error)
        except IdempotencyInFlight:
            self.seen["a key in flight"] += 1
        else:
            self.model.answered(wanted, answer)

    async def cancel(self, task_id: str) -> None:
        self.model.lives[task_id].cancels_asked += 1
        client = self.clients[0]

        async def ask() -> None:
            try:
                state = await client.engine.for_tenant(DEFAULT_TENANT).cancel(task_id)
            except (TaskConflict, TaskNotFound):
                return
            self.model.lives[task_id].cancelled_for_sure |= state is State.CANCELLED

        client.begin(f"cancel {task_id}", ask)
        await self.yard.quiet()

    async def redrive(self, task_id: str) -> None:
        self.model.lives[task_id].redrives_asked += 1
        client = self.clients[0]

        async def ask() -> None:
            try:
                await client.engine.for_tenant(DEFAULT_TENANT).redrive(task_id)
            except (TaskConflict, TaskNotFound):
                return

        client.begin(f"redrive {task_id}", ask)
        await self.yard.quiet()

    async def operate(self, action: str, task_id: str) -> None:
        """Erase a task, or free its key, as a person does."""
        client = self.clients[0]
        ask = self.tombstones.ask
        client.begin(f"{action} {task_id}", lambda: ask(client.engine, action, task_id))
        await self.yard.quiet()

    async def act(self, actor: Hand | Sidecar, activity: str) -> None:
        """Start an activity."""
        actor.act(activity)
        await self.yard.quiet()

    # Fates of actors

    @property
    def actors(self) -> list[Actor]:
        return [actor for actor in (*self.clients, *self.hands, *self.reapers) if actor.alive]

    async def stride(self, actor: Actor, count: int) -> None:
        """Let so many operations of an actor go on, the oldest first."""
        for _ in range(count):
            if not actor.gate.standing:
                return
            await self.yard.decide(actor.gate.standing[0], Verdict.GO)

    async def drive(self, actor: Actor, activity: str) -> None:
        """Let an activity go on to its end, or until it waits for time or for another."""
        for _ in range(MANY_STEPS):
            stands = [stand for stand in actor.gate.standing if stand.activity == activity]
            if not stands or not actor.busy(activity):
                return
            await self.yard.decide(stands[0], Verdict.GO)

    async def run_out(self) -> None:
        """Let all actors go on until none waits."""
        for _ in range(MANY_STEPS):
            if not self.yard.standing:
                return
            await self.yard.decide(self.yard.standing[0], Verdict.GO)
        raise AssertionError(
            f"it goes on for ever: {[(stand.gate.name, stand.what) for stand in self.yard.standing]}"
        )

    async def decide(self, stand: Stand, verdict: Verdict) -> None:
        if verdict in (Verdict.REFUSE, Verdict.LOSE):
            self.seen[f"{verdict.name.lower()} {stand.what}"] += 1
        await self.yard.decide(stand, verdict)

    async def crash(self, stand: Stand, *, done: bool) -> None:
        """Kill the waiting actor: before the operation happened, or right after it, before its
        answer."""
        (actor,) = (actor for actor in self.actors if actor.gate is stand.gate)
        if done and not stand.after:
            await self.yard.decide(stand, Verdict.HOLD)
        self.seen[f"crash {'after' if done or stand.after else 'before'} {stand.what}"] += 1
        await self._replace(actor)

    async def _replace(self, actor: Actor) -> None:
        await actor.kill()
        if isinstance(actor, Hand):
            self.hands.remove(actor)
            self.dead.append(actor.worker_id)
        elif isinstance(actor, Sidecar):
            self.reapers[self.reapers.index(actor)] = Sidecar(self.ground, actor.name)
        else:
            self.clients[self.clients.index(actor)] = Actor(self.ground, actor.name)
        await self.yard.quiet()

    async def hire(self, name: str, count: int) -> None:
        """Another worker at a vacant post; `count` operations of its start happen
        immediately."""
        hand = Hand(self.ground, name, isolated=name == "hermit")
        self.hands.append(hand)
        await self.act(hand, "hire")
        await self.stride(hand, count)

    async def bury(self, reaper: Sidecar, worker_id: str) -> None:
        """Reap a worker whose death is known first-hand."""
        reaper.bury(worker_id)
        await self.yard.quiet()

    async def flush(self) -> None:
        """Redis forgets everything."""
        self.seen["flushall"] += 1
        await self.servers.redis.flushall()

    async def pass_time(self, seconds: float) -> None:
        """For all actors, everywhere."""
        await self.servers.sql(OLDER, {"seconds": seconds})
        redis = self.servers.redis
        leases = await redis.zrange(KEYS.leases(QUEUE), 0, -1, withscores=True)
        if leases:
            await redis.zadd(
                KEYS.leases(QUEUE), {worker_id: left - seconds * 1000 for worker_id, left in leases}
            )
        self.servers.loop.now += seconds
        await self.yard.quiet()
        for hand in [hand for hand in self.hands if hand.is_spent]:
            await self.act(hand, "retire")
        for hand in [hand for hand in self.hands if hand.over]:
            await self.leave(hand)

    async def leave(self, hand: Hand) -> None:
        """It has closed itself, and its process ends."""
        await hand.kill()
        self.hands.remove(hand)

    async def watch(self, reaper: Sidecar, beating: list[Hand], rounds: int) -> None:
        """Let so much time go by that a reaper which is awake finds out which workers do not beat,
        and treats no other worker as dead."""
        heard = [
            hand for hand in beating if hand.hired and not hand.over and not hand.busy("retire")
        ]
        before = await self._open(heard)
        for _ in range(rounds):
            await self.pass_time(LOOK_SECONDS)
            for hand in beating:
                await self.act(hand, "beat")
                await self.drive(hand, "beat")
            await self.act(reaper, "reap")
            await self.drive(reaper, "reap")
        for worker_id in sorted(before - await self._open(heard)):
            self.ground.surprises.append(
                f"{worker_id} was heard of all the time, and was taken for dead"
            )

    async def _open(self, hands: list[Hand]) -> set[str]:
        """Which of these the ledger has open."""
        names = [hand.worker_id for hand in hands]
        return {row[0] for row in await self.servers.sql(OPEN, [names])}

    # The end

    async def heal(self) -> None:
        """No actor crashes any more, and every post is filled: everything comes to rest, or this
        fails."""
        for _ in range(MANY_ROUNDS):
            for name in {"worker1", "hermit"} - {hand.name for hand in self.hands}:
                self.hands.append(Hand(self.ground, name, isolated=name == "hermit"))
            # First only what it takes to find out who is dead: that is most of the time, and little
            # of the work.
            await self.watch(self.reapers[0], self.hands, 3)
            await self._round()
            if not await self._unrest():
                return
        raise AssertionError(f"no rest after {MANY_ROUNDS} rounds: {await self._unrest()}")

    async def _round(self) -> None:
        await self.pass_time(LOOK_SECONDS - PATIENCE_SECONDS)
        for hand in self.hands:
            for activity in ("beat", "pull", "sweep", "watch"):
                hand.act(activity)
        for activity in ("reap", "promote", "refill", "reconcile"):
            self.reapers[0].act(activity)
        await self.yard.quiet()
        await self.run_out()
        await self.pass_time(PATIENCE_SECONDS)
        await self.run_out()
        claimed = -1
        while claimed != self.seen["task.claimed"]:
            claimed = self.seen["task.claimed"]
            for hand in self.hands:
                hand.act("pull")
            self.reapers[0].act("refill")
            await self.yard.quiet()
            await self.run_out()

    async def _unrest(self) -> list[str]:
        """The tasks and deliveries that have not come to rest, in both stores."""
        unrest = [row[0] for row in await self.servers.sql(UNREST)]
        redis = self.servers.redis
        for lane in Lane:
            unrest += [
                f"{lane} {value!r}"
                for value in await redis.lrange(KEYS.ready(QUEUE, lane), 0, -1)
                if value
            ]
        unrest += [f"backlog of {lane.decode()}" for lane in await redis.hkeys(KEYS.backlog(QUEUE))]
        unrest += sorted(
            [name.decode() async for name in redis.scan_iter(match=KEYS.processing_pattern(QUEUE))]
        )
        leased = [name.decode() for name in await redis.zrange(KEYS.leases(QUEUE), 0, -1)]
        return unrest + [f"lease of {row[0]}" for row in await self.servers.sql(CLOSED, [leased])]

    async def check(self) -> list[str]:
        """The forbidden events since the last look."""
        rows = [row for row in await self.servers.sql(MOVES) if row[0] not in self._known]
        self._known.update(row[0] for row in rows)
        self.model.moved(move_of(row[1:]) for row in rows)
        events, self._events = self._events, []
        for event in events:
            self._take_in(event)
        robbed = {event.fields["worker_id"] for event in events if event.name == "attempt.reaped"}
        for row in await self.servers.sql(OPEN, [sorted(robbed)]) if robbed else ():
            self.ground.surprises.append(f"{row[0]} was robbed of an attempt, and is open")
        self.ground.surprises += [
            row[0] for row in await self.servers.sql(HASTY, [FIRST_HAND, LEASE_SECONDS])
        ]
        self.model.compare(await self.servers.sql(EFFECTS))
        await self.tombstones.look()
        return self.model.complaints + self.ground.surprises

    async def check_the_end(self) -> list[str]:
        """And what must not be left."""
        sql = self.servers.sql
        keys_of_tasks = dict(await sql("select key, task_id::text from leaseq.idempotency_keys"))
        await self.check()
        self.model.judge_the_end(
            await sql("select id::text, state, attempt from leaseq.tasks"),
            await sql(
                "select task_id::text, n from leaseq.attempts, "
                "generate_series(attempt, attempt + coalesce(hand_backs, 1) - 1) as n"
            ),
            keys_of_tasks,
        )
        self.seen.update(
            f"ended in {life.state}" for life in self.model.lives.values() if life.state is not None
        )
        return self.model.complaints + self.ground.surprises

    async def end(self) -> None:
        """End all actors."""
        for actor in self.actors:
            await actor.kill()
        self._deaf()

    def _hear(self, event: Event) -> None:
        self.seen[event.name] += 1
        self._events.append(event)

    def _take_in(self, event: Event) -> None:
        said = event.fields
        match event.name:
            case "attempt.started":
                self.model.ran(said["task_id"], said["attempt"])
            case "attempt.settled" if said["outcome"] is Outcome.SUCCEEDED:
                self.model.lives[said["task_id"]].settled.append(said["attempt"])
            case "loop.failed":
                self.ground.surprises.append(f"{said['loop']}: {said['error']}")


__all__ = ["LOOK_SECONDS", "PATIENCE_SECONDS", "POSTS", "World"]
