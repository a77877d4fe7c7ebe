"""The HTTP client over real sockets."""

import asyncio
import socket
import ssl

import pytest
import trustme

from batchyard.transport.http1 import (
    Address,
    Client,
    ConnectFailed,
    Limits,
    Lost,
    TooLarge,
    client,
    request_head,
    tls_context,
)
from tests.support.upstream import Upstream, answer, closes_early, good, hangs, says


def a_client(url: str, **options: object) -> Client:
    return Client(Address.parse(url), **options)  # type: ignore[arg-type]


def head(url: str, method: str = "POST") -> bytes:
    return request_head(method, "/v1/chat/completions", Address.parse(url).authority, {})


async def test_exchanges_reuse_a_connection_and_run_side_by_side_on_others() -> None:
    async with Upstream() as upstream:
        client = a_client(upstream.url)
        for n in range(3):
            received = await client.exchange(head(upstream.url), b'{"n":%d}' % n)
            assert (received.status, upstream.connections) == (200, 1)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.exchange(head(upstream.url), b'{"n":%d}' % n)) for n in range(5)]
        assert [b'"n": %d' % n in task.result().body for n, task in enumerate(tasks)] == [True] * 5
        assert upstream.connections == 5
        await client.close()


async def test_a_get_has_no_body() -> None:
    async with Upstream() as upstream:
        client = a_client(upstream.url)
        assert (await client.exchange(head(upstream.url, "GET"))).status == 200
        assert "content-length" not in upstream.asked[0].headers
        await client.close()


async def test_a_large_body_arrives_whole() -> None:
    body = b'{"text":"%b"}' % (b"0123456789" * 2_000_000)
    async with Upstream(says(answer(b"{}"))) as upstream:
        client = a_client(upstream.url)
        assert (await client.exchange(head(upstream.url), body)).body == b"{}"
        assert upstream.posts[0].body == body
        await client.close()


async def test_a_refused_connection_was_never_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = a_client(f"http://127.0.0.1:{port}")
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port} could not be reached: .*refused") as caught:
        await client.exchange(head(f"http://127.0.0.1:{port}"), b"{}")
    assert not caught.value.local
    await client.close()


async def test_a_host_without_address_was_never_sent() -> None:
    client = a_client("http://no-such-host.invalid")
    with pytest.raises(ConnectFailed, match="no-such-host"):
        await client.exchange(head("http://h"), b"{}")
    await client.close()


async def test_a_server_that_does_not_take_the_connection_times_out() -> None:
    """It listens for TLS, but never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        client = a_client(url, tls=tls_context(), connect_timeout_seconds=0.05)
        with pytest.raises(ConnectFailed, match=r"within 0\.05 s"):
            await client.exchange(head(url), b"{}")
        await client.close()


async def test_a_kept_connection_that_the_server_has_closed_costs_nothing() -> None:
    async with Upstream(good(), closes_early(), good()) as upstream:
        client = a_client(upstream.url)
        await client.exchange(head(upstream.url), b'{"n":1}')
        received = await client.exchange(head(upstream.url), b'{"n":2}')  # closed on us, sent again at once
        assert received.status == 200
        assert [asked.json["n"] for asked in upstream.posts] == [1, 2, 2]
        await client.close()


async def test_a_new_connection_that_closes_is_lost_and_not_sent_again() -> None:
    async with Upstream(closes_early()) as upstream:
        client = a_client(upstream.url)
        with pytest.raises(Lost):
            await client.exchange(head(upstream.url), b"{}")
        assert len(upstream.posts) == 1
        await client.close()


async def test_two_stale_connections_do_not_make_two_repeats() -> None:
    async with Upstream(good(), closes_early(), closes_early()) as upstream:
        client = a_client(upstream.url)
        await client.exchange(head(upstream.url), b"{}")
        with pytest.raises(Lost):
            await client.exchange(head(upstream.url), b"{}")
        assert len(upstream.posts) == 3
        await client.close()


async def test_a_connection_that_was_idle_for_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "IDLE_SECONDS", -1.0)
    async with Upstream() as upstream:
        ours = a_client(upstream.url)
        for _ in range(3):
            await ours.exchange(head(upstream.url), b"{}")
        assert upstream.connections == 3
        await ours.close()


async def test_cancelling_an_exchange_closes_its_connection() -> None:
    async with Upstream(hangs(b"HTTP/1.1 200 OK\r\n")) as upstream:
        client = a_client(upstream.url, most_connections=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.exchange(head(upstream.url), b'{"n":1}')
        await asyncio.sleep(0)  # closing takes the loop one turn
        received = await client.exchange(head(upstream.url), b'{"n":2}')
        assert b'"n": 2' in received.body
        assert upstream.connections == 2
        await client.close()


async def test_closing_the_client_loses_what_is_under_way() -> None:
    async with Upstream(hangs()) as upstream:
        client = a_client(upstream.url)
        async with asyncio.TaskGroup() as group:
            lost = group.create_task(_caught(client, upstream.url))
            await upstream.was_asked.wait()
            await client.close()
        assert isinstance(lost.result(), Lost)
        assert isinstance(await _caught(client, upstream.url), ConnectFailed)
        await client.close()


async def _caught(client: Client, url: str) -> Exception | None:
    try:
        await client.exchange(head(url), b"{}")
    except Exception as error:
        return error
    return None


async def test_over_its_most_connections_it_is_we_who_are_the_reason() -> None:
    async with Upstream(hangs(), hangs()) as upstream:
        client = a_client(upstream.url, most_connections=2)
        async with asyncio.TaskGroup() as group:
            hanging = [group.create_task(_caught(client, upstream.url)) for _ in range(2)]
            await asyncio.sleep(0)
            error = await _caught(client, upstream.url)
            await upstream.was_asked.wait()
            await client.close()
        assert isinstance(error, ConnectFailed)
        assert error.local
        assert all(task.result() for task in hanging)


async def test_an_answer_over_the_limit_is_refused() -> None:
    async with Upstream(says(answer(b"x" * 2000))) as upstream:
        client = a_client(upstream.url, limits=Limits(answer_bytes=1000))
        with pytest.raises(TooLarge):
            await client.exchange(head(upstream.url), b"{}")
        await client.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


async def test_tls_carries_exchanges_large_ones_too(
    authority: trustme.CA, server_tls: ssl.SSLContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    async with Upstream(tls=server_tls) as upstream:
        client = a_client(upstream.url, tls=tls_context(ca_file=str(ca_file)))
        text = b"x" * 3_000_000
        for _ in range(2):
            received = await client.exchange(head(upstream.url), b'{"text":"%b"}' % text)
            assert text in received.body
        assert upstream.connections == 1
        await client.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(server_tls: ssl.SSLContext) -> None:
    async with Upstream(tls=server_tls) as upstream:
        client = a_client(upstream.url, tls=tls_context())
        with pytest.raises(ConnectFailed, match=r"unable to get local issuer|self-signed") as caught:
            await client.exchange(head(upstream.url), b"{}")
        assert caught.value.certificate
        await client.close()


def test_where_the_system_has_no_certificates_ours_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/cert.pem")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    assert tls_context().cert_store_stats()["x509_ca"] > 50
