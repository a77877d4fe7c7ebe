"""Numbers as people read them."""

from batchyard.cli.meter import View

ENGINE_STAGES = frozenset({"running"})
READING_STAGES = frozenset({"fetching", "reading", "sending", "receiving"})
WRITING_STAGES = frozenset({"writing"})


def amount(number: float) -> str:
    """`980`, `1,234`, `35.2k`, `1.2M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if letter == 'k' else size):.1f}{letter}"
    return f"{number:,.0f}"


def rate(number: float) -> str:
    """As `amount`, with a decimal where it is small."""
    return f"{number:.1f}" if 0 < number < 100 else amount(number)


def data(size_bytes: float) -> str:
    """`12 B`, `3.4 MB`: powers of a thousand, as disks are sold."""
    for size, letter in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {letter}"
    return f"{size_bytes:.0f} B"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def status(view: View) -> list[str]:
    """One look at a run, as phrases, what matters most first: a narrow terminal shows no more than it can."""
    if view.stage in ENGINE_STAGES:
        return [_lines_done(view), *_time_left(view), *_speed(view), *_troubles(view), f"{view.inflight:,} under way"]
    if view.stage in READING_STAGES and (view.bytes_total or view.bytes_read):
        return [_bytes_done(view), *_lines_seen(view), *_bytes_left(view)]
    if view.stage in WRITING_STAGES and view.written:
        return [f"{view.stage} {view.written:,}/{view.to_run + view.repeated:,} lines"]
    return [view.stage]


def fitted(phrases: list[str], width: int, between: str = " · ") -> str:
    """The first phrases that fit, whole; always the first one."""
    text = phrases[0]
    for phrase in phrases[1:]:
        if len(text) + len(between) + len(phrase) > width:
            break
        text += between + phrase
    return text


def _lines_done(view: View) -> str:
    beside = [(view.repeated, "repeated"), (view.invalid, "invalid"), (view.resumed, "from before")]
    text = ", ".join(f"{count:,} {word}" for count, word in beside if count)
    return f"{view.done:,}/{view.to_run:,} lines" + (f" ({text})" if text else "")


def _speed(view: View) -> list[str]:
    tokens = f"tokens/s {rate(view.input_tokens_per_second)} in {rate(view.output_tokens_per_second)} out"
    return [f"{rate(view.lines_per_second)} lines/s", tokens]


def _troubles(view: View) -> list[str]:
    why = f"retries, mostly {view.most_failures}" if view.most_failures else "retries"
    counts = [(view.retries, why), (view.failed, "failed"), (view.cached_tokens, "tokens cached")]
    down = [] if view.down_seconds is None else [f"engine down for {duration(view.down_seconds)}"]
    return [f"{amount(count)} {word}" for count, word in counts if count] + down


def _time_left(view: View) -> list[str]:
    return [] if view.seconds_left is None else [f"{duration(view.seconds_left)} left"]


def _bytes_done(view: View) -> str:
    of = f"/{data(view.bytes_total)}" if view.bytes_total else ""
    return f"{view.stage} {data(view.bytes_read)}{of} at {data(view.bytes_per_second)}/s"


def _bytes_left(view: View) -> list[str]:
    left = view.bytes_total - view.bytes_read
    return [f"{duration(left / view.bytes_per_second)} left"] if left > 0 and view.bytes_per_second > 0 else []


def _lines_seen(view: View) -> list[str]:
    return [f"{view.to_run:,} lines"] if view.to_run else []
