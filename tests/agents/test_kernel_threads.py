"""Threads for kernels: all at once for a job, tenants in turn, nobody passed over, none lost."""

import trio
from trio.testing import wait_all_tasks_blocked

from agents.kernel_threads import KernelThreads


class Jobs:
    """Jobs that hold their threads until they are told to end; `begun` has them in order."""

    def __init__(self, total: int, nursery: trio.Nursery) -> None:
        self.threads = KernelThreads(total)
        self.begun: list[str] = []
        self._nursery = nursery
        self._ends: dict[str, trio.Event] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    async def add(self, name: str, tenant: str, threads: int = 1) -> None:
        self._ends[name] = trio.Event()
        self._nursery.start_soon(self._hold, name, tenant, threads)
        await wait_all_tasks_blocked()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await wait_all_tasks_blocked()

    async def _hold(self, name: str, tenant: str, threads: int) -> None:
        with trio.CancelScope() as self.scopes[name]:
            async with self.threads.taken(tenant, threads):
                self.begun.append(name)
                await self._ends[name].wait()


async def test_tenants_take_turns_and_each_ones_jobs_keep_their_order() -> None:
    async with trio.open_nursery() as nursery:
        jobs = Jobs(1, nursery)
        for name in ("a1", "a2", "a3", "b1", "b2"):
            await jobs.add(name, tenant=name[0])
        for name in ("a1", "a2", "b1", "a3", "b2"):
            await jobs.end(name)
        assert jobs.begun == ["a1", "a2", "b1", "a3", "b2"]
        assert (jobs.threads.free, jobs.threads.waiting) == (1, 0)


async def test_a_job_that_needs_many_threads_is_not_passed_over_for_ever() -> None:
    async with trio.open_nursery() as nursery:
        jobs = Jobs(2, nursery)
        await jobs.add("small", "a")
        await jobs.add("large", "a", threads=2)
        await jobs.add("late", "b")
        assert (jobs.begun, jobs.threads.waiting) == (["small"], 2)
        await jobs.end("small")
        assert jobs.begun == ["small", "large"]
        await jobs.end("large")
        await jobs.end("late")
        assert (jobs.begun, jobs.threads.free) == (["small", "large", "late"], 2)


async def test_who_leaves_the_queue_or_is_cancelled_at_work_costs_nobody_a_thread() -> None:
    async with trio.open_nursery() as nursery:
        jobs = Jobs(2, nursery)
        for name, threads in (("works", 2), ("leaves", 2), ("next", 1)):
            await jobs.add(name, "a", threads)
        jobs.scopes["leaves"].cancel()
        await wait_all_tasks_blocked()
        assert jobs.threads.waiting == 1
        jobs.scopes["works"].cancel()
        await wait_all_tasks_blocked()
        assert (jobs.begun, jobs.threads.free) == (["works", "next"], 1)
        await jobs.end("next")
        assert (jobs.threads.free, jobs.threads.waiting) == (2, 0)


async def test_a_job_cancelled_in_the_step_in_which_it_is_given_its_threads_gives_them_back() -> None:
    async with trio.open_nursery() as nursery:
        jobs = Jobs(1, nursery)
        await jobs.add("works", "a")
        await jobs.add("next", "a")
        jobs.scopes["works"].cancel()
        jobs.scopes["next"].cancel()
        await wait_all_tasks_blocked()
        assert (jobs.threads.free, jobs.threads.waiting) == (1, 0)
