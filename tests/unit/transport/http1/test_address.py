import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.transport.http1 import Address, request_head


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h", Address(False, "h", 80, "", "")),
        ("https://h:8443/v1/", Address(True, "h", 8443, "/v1", "")),
        ("http://[::1]:8000/v1", Address(False, "::1", 8000, "/v1", "")),
        ("https://x.example/deployments/d?v=1", Address(True, "x.example", 443, "/deployments/d", "v=1")),
        ("http://bücher.example/ä", Address(False, "xn--bcher-kva.example", 80, "/%C3%A4", "")),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "h:8000",
        "ftp://h/",
        "http://",
        "http://h:port",
        "http://h:99999",
        "http://h/a b",
        "http://h/\r\nx-evil: 1",
        "http://h/\nx",
        "http://h\t/",
        "http://user:secret@h/",
    ],
)
def test_a_url_that_is_not_plain_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Address.parse(url)


def test_a_refused_url_with_a_password_does_not_repeat_it() -> None:
    with pytest.raises(ValueError, match="key") as caught:
        Address.parse("http://user:hunter2@h/")
    assert "hunter2" not in str(caught.value)


def test_the_authority_names_a_port_only_where_it_is_unusual() -> None:
    assert Address.parse("https://h:443").authority == "h"
    assert Address.parse("http://h:443").authority == "h:443"
    assert Address.parse("http://[::1]:8000").authority == "[::1]:8000"


def test_a_target_keeps_the_query_of_its_address() -> None:
    assert Address.parse("http://h/base?api-version=1").target("/x") == "/base/x?api-version=1"
    assert Address.parse("http://h").target("") == "/"


@given(url=st.text(max_size=40), name=st.text(max_size=10), value=st.text(max_size=20))
def test_nothing_breaks_out_of_a_head(url: str, name: str, value: str) -> None:
    """Whatever the parts are: the head has one line for each, or there is no head."""
    try:
        address = Address.parse(f"http://h/{url}")
        head = request_head("POST", address.target("/v1"), address.authority, {name: value})
    except ValueError:
        return
    lines = head.split(b"\r\n")
    assert [line.split(b" ")[0] for line in lines] == [b"POST", b"host:", name.encode() + b":", b""]
    assert len(lines[0].split(b" ")) == 3
    assert not any(byte in line for line in lines for byte in (b"\r", b"\n", b"\0"))


@pytest.mark.parametrize(
    ("method", "target", "host", "headers"),
    [
        ("PO ST", "/", "h", {}),
        ("POST", "/\r\nx: y", "h", {}),
        ("POST", "/ HTTP/1.1", "h", {}),
        ("POST", "/", "h\r\nx: y", {}),
        ("POST", "/", "h", {"x\r\ny": "z"}),
        ("POST", "/", "h", {"x": "y\r\nz: 1"}),
        ("POST", "/", "h", {"x": "y\n"}),
        ("POST", "/", "h", {"x": "€"}),
    ],
)
def test_a_head_with_a_smuggled_line_is_refused(method: str, target: str, host: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        request_head(method, target, host, headers)
