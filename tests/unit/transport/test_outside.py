"""Where requests may go that callers chose: never to what only this server can reach, whatever name it has."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme

from batchyard.transport.http1 import BadAnswer, ConnectFailed, Lost, TooLarge, tls_context
from batchyard.transport.outside import REDIRECTS, NotOutside, Outside, Unresolved
from tests.support.upstream import Upstream, drips, floods
from tests.support.web_server import Exchange, answers, breaks_off, redirects_to, serving

INSIDE = [
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.0",
    "168.63.129.16", "192.0.0.192", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1",
    "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "ff02::1", "2001:db8::1", "fec0::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"]


class Names:
    """A resolver that says what a test wants, and may say something else each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "no such host")
        return answer


def literal(ip: str) -> str:
    return f"http://[{ip}]/hook" if ":" in ip else f"http://{ip}/hook"


@pytest.mark.parametrize("ip", INSIDE)
async def test_what_is_inside_is_refused_by_address_and_by_name(ip: str) -> None:
    with pytest.raises(NotOutside):
        await Outside().check(literal(ip))
    with pytest.raises(NotOutside, match=r"hooks\.example is not on the public internet"):
        await Outside(resolve=Names([ip])).check("https://hooks.example/")
    with pytest.raises(NotOutside):
        await Outside(resolve=Names(["1.1.1.1", ip])).check("https://hooks.example/")


@pytest.mark.parametrize("ip", PUBLIC)
async def test_what_is_public_is_not(ip: str) -> None:
    await Outside().check(literal(ip))
    await Outside(resolve=Names([ip])).check("https://hooks.example/")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost", "localhost."])
async def test_other_spellings_of_this_machine_are_refused_by_the_systems_resolver(host: str) -> None:
    with pytest.raises(NotOutside):
        await Outside().check(f"http://{host}:8000/")


@pytest.mark.parametrize(
    ("allowed", "ip"),
    [("127.0.0.1", "127.0.0.1"), ("10.0.0.0/8", "10.9.9.9"), ("::1", "::1"), ("127.0.0.0/8", "::ffff:127.0.0.1"),
     ("fd00::/8", "fd00::9")],
)  # fmt: skip
async def test_networks_can_be_allowed(allowed: str, ip: str) -> None:
    outside = Outside([allowed], resolve=Names([ip]))
    await outside.check(literal(ip))
    await outside.check("http://hooks.example/")
    with pytest.raises(NotOutside):
        await outside.check("http://192.168.0.1/")


async def test_hosts_can_be_allowed_by_their_names() -> None:
    outside = Outside(["Hooks.Internal"], resolve=Names(["10.0.0.1"]))
    await outside.check("http://hooks.internal/")
    for host in ("other.internal", "hooks.internal.example", "10.0.0.1"):
        with pytest.raises(NotOutside):
            await outside.check(f"http://{host}/")


@pytest.mark.parametrize("entry", ["", "http://a", "10.0.0.0/99", "a:80", "*.internal", "a b"])
def test_what_is_no_place_cannot_be_allowed(entry: str) -> None:
    with pytest.raises(ValueError, match="no host name, address or network"):
        Outside([entry])


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/", "http://", "http://user:key@a.example/", "http://a.example:x/", "http://a b/", "nothing"],
)
async def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(NotOutside):
        await Outside(resolve=Names(["1.1.1.1"])).check(url)


async def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(NotOutside, match="cannot be resolved"):
        await Outside(resolve=Names([])).check("http://nowhere.example/")


async def test_a_name_that_moves_inside_later_is_refused_then() -> None:
    names = Names(["1.1.1.1"], ["127.0.0.1"])
    outside = Outside(resolve=names)
    await outside.check("http://hooks.example/")
    with pytest.raises(NotOutside):
        await outside.post("http://hooks.example/", {}, b"")


async def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    """The name exists only for the resolver, which is asked once: nothing resolves it again on the way."""
    with serving(answers(204)) as script:
        port, names = script.url.rsplit(":", 1)[1].strip("/"), Names(["127.0.0.1"])
        outside = Outside(["127.0.0.1"], resolve=names)
        status = await outside.post(f"http://hooks.invalid:{port}/a%20b/?q=1", {"x-a": "b"}, b"body")
    (seen,) = script.seen
    assert (status, seen.path, seen.body, seen.headers["x-a"]) == (204, "/a%20b/?q=1", b"body", "b")
    assert seen.headers["host"] == f"hooks.invalid:{port}" and names.asked == ["hooks.invalid"]


async def test_the_next_address_is_tried_where_nobody_listens() -> None:
    with serving(answers(200)) as script:
        port = script.url.rsplit(":", 1)[1].strip("/")
        outside = Outside(["hooks.invalid"], resolve=Names(["::1", "127.0.0.1"]))
        assert await outside.post(f"http://hooks.invalid:{port}/", {}, b"") == 200


async def test_a_certificate_must_be_that_of_the_name_wherever_the_connection_goes(tmp_path: Path) -> None:
    authority, ca_file = trustme.CA(), str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.invalid").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    outside = Outside(["127.0.0.1"], resolve=Names(["127.0.0.1"]), tls=tls_context(ca_file=ca_file))
    async with Upstream(tls=context) as upstream:
        port = upstream.url.rsplit(":", 1)[1].split("/")[0]
        assert await outside.post(f"https://hooks.invalid:{port}/", {}, b'{"text":"a"}') == 200
        with pytest.raises(ConnectFailed, match="ostname mismatch") as refused:
            await outside.post(f"https://other.invalid:{port}/", {}, b"{}")
        assert refused.value.certificate


async def test_a_redirect_is_not_followed() -> None:
    with serving(redirects_to("/elsewhere", 302)) as script:
        assert await Outside(["127.0.0.1"]).post(script.url, {}, b"") == 302
    assert len(script.seen) == 1


async def test_a_resolver_that_is_silent_costs_the_timeout() -> None:
    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    outside = Outside(resolve=silent, timeout_seconds=0.01)
    with pytest.raises(TimeoutError):
        await outside.post("http://hooks.example/", {}, b"")
    with pytest.raises(NotOutside, match="cannot be resolved"):
        await outside.check("http://hooks.example/")


# Fetching


def named(url: str, host: str) -> str:
    """The same URL, at a host that only a test's resolver knows."""
    return url.replace("127.0.0.1", host)


async def test_what_a_url_leads_to_is_fetched_after_redirects() -> None:
    with serving(redirects_to("/b?c=d", 302), redirects_to("e/f", 308), answers(200, b"bytes", etag="x")) as script:
        received = await Outside(["127.0.0.1"]).get(f"{script.url}a", {"accept": "image/*"}, most_bytes=5)
    assert (received.status, received.body, received.header(b"etag")) == (200, b"bytes", "x")
    assert [(seen.method, seen.path) for seen in script.seen] == [("GET", "/a"), ("GET", "/b?c=d"), ("GET", "/e/f")]
    assert {seen.headers["accept"] for seen in script.seen} == {"image/*"}


async def test_a_redirect_to_what_is_inside_is_refused_before_anything_is_sent_there() -> None:
    with serving(answers(200, b"secret")) as inside:
        port = inside.url.rsplit(":", 1)[1]
        for leads in (f"http://127.0.0.1:{port}", f"http://inside.invalid:{port}", f"http://[::ffff:7f00:1]:{port}"):
            with serving(redirects_to(leads, 302)) as public:
                names = Names(["127.0.0.1"])
                outside = Outside(["public.invalid"], resolve=names)
                with pytest.raises(NotOutside, match="is not on the public internet"):
                    await outside.get(named(public.url, "public.invalid"), {}, most_bytes=100)
    assert not inside.seen


async def test_a_name_that_says_something_else_after_a_redirect_is_judged_again() -> None:
    with serving(redirects_to("/again", 302)) as script:
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        outside = Outside(["127.0.0.1"], resolve=names)
        with pytest.raises(NotOutside):
            await outside.get(named(script.url, "moves.invalid"), {}, most_bytes=100)
    assert len(script.seen) == 1 and len(names.asked) == 2


@pytest.mark.parametrize(
    "location", ["ftp://a.example/", "http://user:key@a.example/", "http://[::1", "file:///etc/hosts"]
)
async def test_a_redirect_to_no_plain_url_is_refused_without_telling_it(location: str) -> None:
    with serving(redirects_to(location, 302)) as script, pytest.raises(NotOutside) as refused:
        await Outside(["127.0.0.1"]).get(script.url, {}, most_bytes=100)
    assert location not in str(refused.value)


async def test_redirects_have_an_end() -> None:
    with serving(redirects_to("/again", 302)) as script, pytest.raises(BadAnswer, match="redirects"):
        await Outside(["127.0.0.1"]).get(script.url, {}, most_bytes=100)
    assert len(script.seen) == REDIRECTS + 1


def gzipped(exchange: Exchange) -> None:
    exchange.reply(200, gzip.compress(bytes(1_000_000)), {"content_encoding": "gzip"})


async def test_an_answer_that_is_too_large_is_given_up_however_it_comes() -> None:
    outside = Outside(["127.0.0.1", "localhost"])
    with serving(answers(200, bytes(101))) as script, pytest.raises(TooLarge):
        await outside.get(script.url, {}, most_bytes=100)
    with serving(gzipped) as script, pytest.raises(TooLarge):
        await outside.get(script.url, {}, most_bytes=10_000)
    endless = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n"
    async with Upstream(models=floods(endless, bytes(1000))) as upstream:
        with pytest.raises(TooLarge):
            await outside.get(upstream.url, {}, most_bytes=10_000)


async def test_an_answer_that_comes_too_slowly_or_breaks_off_is_none() -> None:
    async with Upstream(models=drips(b"HTTP/1.1 200 OK\r\n" * 100, 0.01)) as upstream:
        with pytest.raises(TimeoutError):
            await Outside(["localhost"], timeout_seconds=0.1).get(upstream.url, {}, most_bytes=100)
    with serving(breaks_off(b"bytes", 2)) as script, pytest.raises(Lost):
        await Outside(["127.0.0.1"]).get(script.url, {}, most_bytes=100)


async def test_requests_go_only_to_the_hosts_that_are_named_where_some_are() -> None:
    with serving(redirects_to("http://other.invalid/", 302), answers(200, b"x")) as script:
        outside = Outside(["127.0.0.1"], only=["Named.invalid."], resolve=Names(["127.0.0.1"]))
        with pytest.raises(NotOutside, match="not among"):
            await outside.get(named(script.url, "named.invalid"), {}, most_bytes=100)
        assert (await outside.get(named(script.url, "named.invalid"), {}, most_bytes=100)).body == b"x"
        with pytest.raises(NotOutside, match="not among"):
            await outside.get(script.url, {}, most_bytes=100)


async def test_a_host_that_cannot_be_resolved_now_is_told_apart() -> None:
    with pytest.raises(Unresolved):
        await Outside(resolve=Names([])).get("http://nowhere.example/", {}, most_bytes=100)


NAMES = ("my-api.com", "ops.example.net.", "b\u00fccher.example")
NO_NAMES = ("receiver", "a..b", "xn--", "a.b-", "1.2.3.4.5", "x." * 130 + "x")


@pytest.mark.parametrize(("host", "may_be"), [*((name, True) for name in NAMES), *((name, False) for name in NO_NAMES)])
async def test_only_a_name_of_the_public_dns_may_be_found_one_day(host: str, may_be: bool) -> None:
    """Whoever takes what cannot be resolved yet takes no other nonsense with it."""
    with pytest.raises(NotOutside) as refused:
        await Outside(resolve=Names([])).check(f"https://{host}/hook")
    assert isinstance(refused.value, Unresolved) == may_be
