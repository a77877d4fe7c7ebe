"""Where requests may go that callers chose: never to what only this server can reach, whatever name it has."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme

from batchyard.transport.http1 import ConnectFailed, tls_context
from batchyard.transport.outside import NotOutside, Outside
from tests.support.upstream import Upstream
from tests.support.web_server import answers, redirects_to, serving

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
