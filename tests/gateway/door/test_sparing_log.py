"""The sparing log: a flood is one line and a number, and nothing is lost without being counted."""

import structlog
import trio
import trio.testing

from gateway.door.sparing_log import SparingLog


async def test_a_flood_is_one_line_of_each_kind_a_second_and_a_number(autojump_clock: trio.testing.MockClock) -> None:
    with structlog.testing.capture_logs() as lines:
        sparing = SparingLog("test")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sparing.run)
            for number in range(1000):
                sparing.info("refused", number=number)
                sparing.warning("failed")
            await trio.sleep(1.5)
            sparing.info("refused", number=-1)
            sparing.error("broken")
            sparing.error("broken")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    said = [(line["event"], line.get("number"), line.get("of"), line.get("lines")) for line in lines]
    assert said == [
        ("refused", 0, None, None),
        ("failed", None, None, None),
        ("left_out", None, "refused", 999),
        ("left_out", None, "failed", 999),
        ("refused", -1, None, None),
        ("broken", None, None, None),
        ("left_out", None, "broken", 1),
    ]
