"""Whom we trust: the system's certificates, or certifi's where the system has none."""

import ssl
from pathlib import Path

import certifi


def tls_context(*, ca_file: str | None = None, verify: bool = True) -> ssl.SSLContext:
    """A client context. `ca_file` adds certificates; `verify` False accepts any (for a laboratory only)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    elif not _system_has_certificates(context):
        context.load_verify_locations(certifi.where())
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _system_has_certificates(context: ssl.SSLContext) -> bool:
    if context.cert_store_stats()["x509_ca"]:
        return True
    folder = ssl.get_default_verify_paths().capath  # its files are read only when needed, so they are not yet counted
    return bool(folder) and any(Path(folder).iterdir())
