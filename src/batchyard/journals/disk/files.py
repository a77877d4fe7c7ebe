"""The blocking half of a journal: its folder of segments, read when it opens and written group by group."""

import posixpath
from collections.abc import Iterator

from batchyard.disk import Disk
from batchyard.domain.errors import Conflict, TooLarge
from batchyard.domain.result import Outcome
from batchyard.journal import Recorded
from batchyard.journals.disk.gathering import Gathering
from batchyard.journals.disk.index import Group, sealed_groups
from batchyard.journals.disk.segment import SEGMENT_BYTES, Segment, index_path, segment_numbers
from batchyard.journals.disk.slots import CHECK_BITS, CHECK_MASK, MOST_SEGMENTS, Slots, slot_of


class SegmentFiles:
    """The segments of one folder; the last one is open for writing. Calls block and may raise OSError."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self.folder = folder
        self._writing: Segment | None = None
        self._end = (1, 0)

    def load(self, slots: Slots, *, made: bool = False) -> Recorded:
        """Fill the slots with every result that counts, mend the end, and say what is durable.

        Raises Conflict where a result is of a line that the plan does not have.
        """
        if not made:
            self._disk.make_folder(self.folder)
            self._disk.sync_folder(posixpath.dirname(self.folder) or ".")
        recorded = Recorded()
        for number in segment_numbers(self._disk, self.folder):
            self._load_segment(number, slots, recorded)
        count_outcomes(recorded, slots.outcomes)
        return recorded

    def first(self) -> Gathering:
        """An empty group that will stand behind everything there is."""
        return self._behind(*self._end)

    def after(self, group: Gathering) -> Gathering:
        """An empty group that will stand behind this one."""
        return self._behind(group.segment, group.end)

    def write(self, group: Gathering) -> None:
        """Make a group durable, in a segment of its own where it begins one."""
        self._segment(group.segment).write(group.data(), group.sealed_records())

    def places(self, slots: Slots) -> Iterator[int]:
        """The lines that have a result, in the order in which these became durable."""
        for number in segment_numbers(self._disk, self.folder):
            index = self._disk.open(index_path(self.folder, number))
            try:
                for group in sealed_groups(index):
                    for place, _, offset, check, *_ in group.points():
                        if slots.outcomes[place] and slots.where[place] == slot_of(number, offset, check):
                            yield place
            finally:
                index.close()

    def close(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def _behind(self, segment: int, end: int) -> Gathering:
        if end < SEGMENT_BYTES:
            return Gathering(segment, end)
        if segment == MOST_SEGMENTS:
            raise TooLarge(f"The journal {self.folder} has {MOST_SEGMENTS} segments and takes no more.")
        return Gathering(segment + 1, 0)

    def _segment(self, number: int) -> Segment:
        if self._writing is None or self._writing.number != number:
            self.close()
            self._writing = Segment(self._disk, self.folder, number)
        return self._writing

    def _load_segment(self, number: int, slots: Slots, recorded: Recorded) -> None:
        segment = self._segment(number)
        last: Group | None = None
        for last in segment.groups():
            self._take_in(last, number, slots, recorded)
        self._end = (number, segment.mend(last))

    def _take_in(self, group: Group, segment: int, slots: Slots, recorded: Recorded) -> None:
        """Fill the slots of a group. This runs for every result when a journal opens: it is written in one piece."""
        where, outcomes, lines = slots.where, slots.outcomes, len(slots.outcomes)
        base, sum_in, sum_out, sum_cached = slot_of(segment, 0, 0), 0, 0, 0
        for place, outcome, offset, check, input_tokens, output_tokens, cached_tokens in group.points():
            if place >= lines:
                raise Conflict(
                    f"The journal {self.folder} has a result of line {place}, and the plan has {lines} lines.",
                    remedy="It belongs to another input; start over in another folder.",
                )
            if where[place]:
                continue
            where[place] = base | offset << CHECK_BITS | check & CHECK_MASK
            outcomes[place] = outcome
            sum_in += input_tokens
            sum_out += output_tokens
            sum_cached += cached_tokens
        recorded.input_tokens += sum_in
        recorded.output_tokens += sum_out
        recorded.cached_tokens += sum_cached


def count_outcomes(recorded: Recorded, outcomes: bytes | bytearray) -> None:
    """Add lines to what is durable, by their outcomes."""
    recorded.succeeded += outcomes.count(Outcome.SUCCEEDED)
    recorded.errored += outcomes.count(Outcome.ERRORED)
    recorded.cancelled += outcomes.count(Outcome.CANCELLED)
    recorded.expired += outcomes.count(Outcome.EXPIRED)
