"""Self-signed certificates, made with the real openssl."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.action.selfsigned import holds, question
from ansible_collections.webstack.django.plugins.module_utils.selfsigned import (
    Certificate,
    SelfsignedError,
    name,
    names_of,
)


def run(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[..., Certificate]:
    def build(*domains: str) -> Certificate:
        return Certificate(str(tmp_path / "tls/full.pem"), str(tmp_path / "tls/key.pem"), list(domains), run)

    return build


def text_of(one: Certificate) -> str:
    return run(["openssl", "x509", "-in", one.certificate, "-noout", "-text"])[1]


def test_a_new_one_has_its_names_and_a_private_key(certificate: Callable[..., Certificate]) -> None:
    one = certificate("blog.example.com", "*.blog.example.com", "192.0.2.1", "2001:db8::1", "blog.example.com")
    assert one.wanted()
    one.make()
    assert not one.wanted()
    assert not one.exposed()
    assert os.stat(one.key).st_mode & 0o7777 == 0o600
    text = text_of(one)
    assert names_of(text) == {
        "DNS:blog.example.com",
        "DNS:*.blog.example.com",
        "IP:192.0.2.1",
        "IP:2001:db8::1",
    }
    assert "CA:FALSE" in text
    assert "P-256" in text
    assert sorted(os.listdir(os.path.dirname(one.key))) == ["full.pem", "key.pem"]


@pytest.mark.parametrize("domains", [("a.example.com",), ("a.example.com", "b.example.com", "c.example.com")])
def test_other_names_need_another_one(certificate: Callable[..., Certificate], domains: tuple[str, ...]) -> None:
    certificate("a.example.com", "b.example.com").make()
    assert certificate(*domains).wanted()
    assert not certificate("b.example.com", "a.example.com").wanted()


def test_a_run_that_died_between_key_and_certificate_is_healed(certificate: Callable[..., Certificate]) -> None:
    one = certificate("a.example.com")
    one.make()
    old = Path(one.certificate).read_bytes()
    one.make()
    Path(one.certificate).write_bytes(old)
    assert one.wanted()
    one.make()
    assert not one.wanted()
    os.remove(one.key)
    assert one.wanted()


def test_one_that_nobody_can_read_is_made_again(certificate: Callable[..., Certificate]) -> None:
    one = certificate("a.example.com")
    one.make()
    Path(one.certificate).write_text("not a certificate")
    assert one.wanted()


def test_one_that_ends_soon_is_made_again(certificate: Callable[..., Certificate]) -> None:
    one = certificate("a.example.com")
    one.make()
    argv = ["openssl", "req", "-x509", "-key", one.key, "-out", one.certificate, "-subj", "/O=x"]
    run([*argv, "-days", "31", "-addext", "subjectAltName=DNS:a.example.com"])
    assert not one.wanted()
    run([*argv, "-days", "29", "-addext", "subjectAltName=DNS:a.example.com"])
    assert one.wanted()


def test_one_that_somebody_else_signed_is_left_alone(certificate: Callable[..., Certificate], tmp_path: Path) -> None:
    one = certificate("other.example.com")
    one.make()
    authority, key, request = (str(tmp_path / name) for name in ("ca.pem", "ca.key", "request"))
    new = ["openssl", "req", "-nodes", "-newkey", "rsa:2048"]
    run([*new, "-x509", "-keyout", key, "-out", authority, "-subj", "/O=authority"])
    run([*new, "-keyout", one.key, "-out", request, "-subj", "/CN=a.example.com"])
    sign = ["openssl", "x509", "-req", "-days", "2", "-CA", authority, "-CAkey", key, "-CAcreateserial"]
    code, _output, error = run([*sign, "-in", request, "-out", one.certificate])
    assert code == 0, error
    assert not one.wanted()


def test_a_readable_key_is_protected_again(certificate: Callable[..., Certificate]) -> None:
    one = certificate("a.example.com")
    assert not one.exposed()
    one.make()
    os.chmod(one.key, 0o640)
    assert one.exposed()
    one.protect()
    assert not one.exposed()


def test_names_that_openssl_refuses_are_an_error_and_leave_nothing(certificate: Callable[..., Certificate]) -> None:
    one = certificate("a.example.com\nbad")
    with pytest.raises(SelfsignedError, match=r"openssl cannot make it for DNS:a\.example\.com"):
        one.make()
    assert os.listdir(os.path.dirname(one.key)) == []


def test_kinds_of_names() -> None:
    assert name("127.0.0.1") == "IP:127.0.0.1"
    assert name("::1") == "IP:::1"
    assert name("localhost") == "DNS:localhost"
    assert names_of("no such line") == set()


def asked(one: Certificate, *domains: str, keep: bool = False) -> bool:
    """Whether a shell finds nothing to do."""
    tls = {"certificate": one.certificate, "key": one.key, "keep": keep}
    given = [{"domains": list(domains), "tls": tls}] * 2
    done = subprocess.run(["sh"], input=question(given), capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode == 0 and holds(given, done.stdout)


def test_a_shell_sees_the_same(certificate: Callable[..., Certificate], tmp_path: Path) -> None:
    one = certificate("a.example.com", "2001:db8::1")
    assert not asked(one, "a.example.com", "2001:db8::1")
    one.make()
    assert asked(one, "a.example.com", "2001:db8::1")
    assert asked(one, "2001:db8::1", "a.example.com")
    assert not asked(one, "a.example.com")
    assert not asked(one, "a.example.com", "2001:db8::1", "b.example.com")
    assert asked(one, "b.example.com", keep=True)
    os.chmod(one.key, 0o640)
    assert not asked(one, "a.example.com", "2001:db8::1")
    assert not asked(one, "b.example.com", keep=True)
    os.chmod(one.key, 0o600)
    other = Certificate(str(tmp_path / "other/full.pem"), str(tmp_path / "other/key.pem"), ["x.example.com"], run)
    other.make()
    os.replace(other.key, one.key)
    assert one.wanted()
    assert not asked(one, "a.example.com", "2001:db8::1")
    os.remove(one.key)
    assert not asked(one, "a.example.com", "2001:db8::1")


def test_a_shell_leaves_one_of_somebody_else_alone(certificate: Callable[..., Certificate], tmp_path: Path) -> None:
    one = certificate("a.example.com")
    one.make()
    ca = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=an authority", "-days", "3"]
    assert run([*ca, "-keyout", f"{tmp_path}/ca.key", "-out", f"{tmp_path}/ca.pem"])[0] == 0
    sign = ["openssl", "x509", "-in", one.certificate, "-CA", f"{tmp_path}/ca.pem", "-CAkey", f"{tmp_path}/ca.key"]
    assert run([*sign, "-CAcreateserial", "-days", "3", "-out", f"{tmp_path}/signed.pem"])[0] == 0
    os.replace(tmp_path / "signed.pem", one.certificate)
    assert not certificate("b.example.com").wanted()
    assert asked(one, "b.example.com")
    Path(one.certificate).write_text("no certificate")
    assert certificate("b.example.com").wanted()
    assert not asked(one, "b.example.com")
