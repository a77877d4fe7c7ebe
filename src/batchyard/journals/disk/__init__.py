"""Results as lines of text in a folder, with a small binary index beside them that says which lines count.

A journal is a folder of segments: `000001.jsonl` with `000001.idx`, then `000002...` once a segment has passed 1 GiB.
Files only grow, at their end.

**The data**, `NNNNNN.jsonl`, is one JSON object per line in UTF-8, ended by one newline:

    {"line":17,"custom_id":"req-1","outcome":"succeeded","status":200,"request_id":"r1","attempts":1,"seconds":0.8,
     "usage":[12,34,0,0],"failure":null,"body":{...}}

`line` is the place in the plan, from 0; `seconds` the last attempt's; `usage` the tokens in, out, cached and of
reasoning. `failure` is `{"code":...,"message":...,"fault":"lost"}` where no answer exists; then `status` is 0.
`body` is the engine's answer, byte for byte. A body that cannot stand in such a line (it spans lines, or is not JSON)
makes `body` null and stands behind it as a string: as `"raw"`, its text, or as `"base64"` where it is not UTF-8.

**The index**, `NNNNNN.idx`, is records of 40 bytes, little-endian, in the order in which results became safe:

    offset  0      4       6        7     8       16      20     24     28      32      36
    result  place  status  outcome  zero  offset  length  check  input  output  cached  reasoning
            u32    u16     u8       u8    u64     u32     u32    u32    u32     u32     u32
    seal    2^32-1 count (u32)            end     zero    check  zero

A result points at its line in the data: its first byte, its length with the newline, the CRC-32 of both; then the
tokens. Outcomes: 1 succeeded, 2 errored, 3 cancelled, 4 expired. A seal ends a group of results that became safe
together: how many, where the data ended after them, and the CRC-32 of the group's records with the first 20 bytes
of the seal itself.

**What counts**: a result counts once its group's seal is there and right; then its line is too, because a group is
written as data, sync, index, sync. Of several results of one line the first counts. What follows the last good seal,
in either file, is the rest of a write that was cut off: opening the journal removes it.

**By hand**: every complete line of the `.jsonl` files that is valid JSON is a true answer, sealed or not; of each
`line` take the first. The index only makes that quick, and tells a line that is whole from one that is not.
"""

from batchyard.journals.disk.journal import DiskJournal, open_journal

__all__ = ["DiskJournal", "open_journal"]
