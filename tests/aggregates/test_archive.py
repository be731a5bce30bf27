"""Archives of a journal: one is recorded, was already so, or is refused."""

from msgspec.structs import replace

from aggregates import archive
from aggregates.archive import ArchiveStreams
from runtime import archives
from runtime.records import noun
from tests.aggregates.outcomes import Outcome, check
from tests.examples import command_by_type

ARCHIVE: ArchiveStreams = command_by_type[ArchiveStreams]


def test_archives_follow_on_each_other() -> None:
    second = replace(ARCHIVE, number=2, name="other")
    check(archive, Outcome(ARCHIVE, ["StreamsArchived"], [], [ARCHIVE], "archive_out_of_turn", [ARCHIVE, second]))
    check(archive, Outcome(second, ["StreamsArchived"], [ARCHIVE], [ARCHIVE, second], "archive_out_of_turn", []))


def test_who_verifies_without_this_program_finds_stream_and_kind_by_these_names() -> None:
    assert archive.stream() == archives.STREAM
    assert f"{noun(archive)}.{archive.StreamsArchived.__name__}" == archives.KIND
    assert set(archives.Archived.__struct_fields__) <= set(archive.StreamsArchived.__struct_fields__)
