"""Threads for kernels: all at once for a job, tenants in turn, nobody passed over, none lost."""

import trio
from trio.testing import wait_all_tasks_blocked

from agents.kernel_threads import KernelThreads, Share


class Jobs:
    """Jobs that hold their threads until they are told to end; `begun` has them in order."""

    def __init__(self, total: int, nursery: trio.Nursery, memory_bytes: int = 100) -> None:
        self.threads = KernelThreads(total, memory_bytes)
        self.shares: dict[str, Share] = {}
        self.begun: list[str] = []
        self._nursery = nursery
        self._ends: dict[str, trio.Event] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    async def add(self, name: str, tenant: str, threads: int = 1, memory_bytes: int = 0) -> None:
        self._ends[name] = trio.Event()
        self._nursery.start_soon(self._hold, name, tenant, threads, memory_bytes)
        await wait_all_tasks_blocked()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await wait_all_tasks_blocked()

    async def _hold(self, name: str, tenant: str, threads: int, memory_bytes: int) -> None:
        with trio.CancelScope() as self.scopes[name]:
            async with self.threads.taken(tenant, threads, memory_bytes) as self.shares[name]:
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


async def test_jobs_that_together_would_need_more_memory_than_there_is_wait_in_their_order() -> None:
    async with trio.open_nursery() as nursery:
        jobs = Jobs(4, nursery, memory_bytes=100)
        await jobs.add("half", "a", memory_bytes=60)
        await jobs.add("other", "b", memory_bytes=60)
        await jobs.add("small", "c", memory_bytes=1)
        assert (jobs.begun, jobs.threads.memory_bytes_free) == (["half"], 40)
        await jobs.end("half")
        assert (set(jobs.begun), jobs.threads.memory_bytes_free) == ({"half", "other", "small"}, 39)
        jobs.scopes["other"].cancel()
        await jobs.end("small")
        assert (jobs.threads.memory_bytes_free, jobs.threads.free) == (100, 4)


async def test_what_a_job_gives_back_of_its_memory_is_the_next_one_s() -> None:
    async with trio.open_nursery() as nursery:
        jobs = Jobs(2, nursery, memory_bytes=100)
        await jobs.add("first", "a", memory_bytes=90)
        await jobs.add("next", "b", memory_bytes=50)
        jobs.shares["first"].shrink(95)
        await wait_all_tasks_blocked()
        assert jobs.begun == ["first"]
        jobs.shares["first"].shrink(50)
        await wait_all_tasks_blocked()
        assert (jobs.begun, jobs.threads.memory_bytes_free) == (["first", "next"], 0)
        for name in ("first", "next"):
            await jobs.end(name)
        assert jobs.threads.memory_bytes_free == 100


async def test_a_job_that_would_need_more_than_there_is_gets_all_of_it() -> None:
    async with trio.open_nursery() as nursery:
        jobs = Jobs(2, nursery, memory_bytes=100)
        await jobs.add("small", "a", memory_bytes=1)
        await jobs.add("huge", "a", memory_bytes=10**12)
        assert jobs.begun == ["small"]
        await jobs.end("small")
        assert (jobs.begun, jobs.shares["huge"].memory_bytes) == (["small", "huge"], 100)
        await jobs.end("huge")
        assert jobs.threads.memory_bytes_free == 100
