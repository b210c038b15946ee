# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import multiprocessing
import shutil
import stat
import string
import subprocess
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import secret
from hypothesis import given, settings
from hypothesis import strategies as st

MASTER = b"0123456789abcdef0123456789abcdef"

# RFC 5869, appendix A: the test cases with SHA-256 (key, salt, info, length, result).
RFC5869 = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        42,
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        "".join(f"{value:02x}" for value in range(0x50)),
        "".join(f"{value:02x}" for value in range(0x60, 0xB0)),
        "".join(f"{value:02x}" for value in range(0xB0, 0x100)),
        82,
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        42,
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("key", "salt", "info", "length", "result"), RFC5869)
def test_hkdf_gives_the_vectors_of_the_rfc(key: str, salt: str, info: str, length: int, result: str) -> None:
    got = secret.hkdf(bytes.fromhex(key), bytes.fromhex(salt), bytes.fromhex(info), length)
    assert got.hex() == result


def test_a_derived_secret_never_changes_between_releases() -> None:
    """Literals: whoever changes the derivation changes the passwords of running servers."""
    assert secret.derive(MASTER, "blog/database", form="urlsafe") == "rKK0gJwZminmCf86UExx6A_o17rMNT9T"
    assert secret.derive(MASTER, "blog/database", version=2) == "KxldsMSY7FDRj1oBxrWyH2xWKaRpENvZ"
    assert (
        secret.derive(MASTER, "blog/secret_key", form="django") == "pEdhjsbk-3SUpheiXE6QiKAeI8-uQ0UqFPQSRNWcM5XMXQKove"
    )
    assert (
        secret.derive(MASTER, "a", length=64, form="hex")
        == "567d4fdaee7fc85c0cc65445d903114eedfa786b7333e0784f9d209fd829fa99"
    )


def test_name_version_and_key_all_matter() -> None:
    keys = [MASTER, MASTER + b"x"]
    made = {secret.derive(key, name, version) for key in keys for name in ("a", "b", "a/1") for version in (1, 2, 11)}
    assert len(made) == 18


@given(
    st.sampled_from(sorted(secret.ALPHABETS)),
    st.integers(8, 2048),
    st.from_regex(r"[a-z0-9][a-z0-9/_.-]{0,40}", fullmatch=True),
)
@settings(max_examples=80, deadline=None)
def test_length_alphabet_and_first_character(form: str, length: int, name: str) -> None:
    made = secret.derive(MASTER, name, length=length, form=form)
    assert len(made) == (max(length, 50) if form == "django" else length)
    assert set(made) <= set(secret.ALPHABETS[form])
    assert made[0] in string.ascii_letters + string.digits


def test_django_secrets_please_the_deployment_check() -> None:
    made = secret.derive(MASTER, "x", form="django")
    assert len(made) >= 50
    assert len(set(made)) >= 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": ""}, "a name is letters"),
        ({"name": "a b"}, "a name is letters"),
        ({"name": "a\n"}, "a name is letters"),
        ({"name": "a", "form": "base85"}, "alnum, django, hex, urlsafe"),
        ({"name": "a", "version": 0}, "counted from 1"),
        ({"name": "a", "length": 7}, "from 8 to 2048"),
        ({"name": "a", "length": 2049}, "from 8 to 2048"),
    ],
)
def test_wrong_requests_are_explained(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(secret.SecretError, match=words):
        secret.derive(MASTER, **arguments)  # type: ignore[arg-type]


def test_the_environment_comes_first_then_the_variable_then_the_file(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.touch()
    sources = [str(hosts)]
    environ = {"WEBSTACK_MASTER_KEY": "e" * 40}
    assert secret.master_key(sources, "v" * 40, environ) == b"e" * 40
    assert secret.master_key(sources, "v" * 40, {}) == b"v" * 40
    assert secret.master_key(sources, "v" * 40, {"WEBSTACK_MASTER_KEY": ""}) == b"v" * 40
    assert not (tmp_path / "webstack.key").exists()
    made = secret.master_key(sources, None, {})
    assert len(made) >= 43
    assert secret.master_key(sources, None, {}) == made
    assert stat.S_IMODE((tmp_path / "webstack.key").stat().st_mode) == 0o600


def test_a_file_and_the_directory_it_is_in_have_the_same_key(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").touch()
    from_file = secret.master_key([str(tmp_path / "hosts.yml")], None, {})
    assert secret.master_key(["web1,", str(tmp_path)], None, {}) == from_file


def test_the_key_file_is_no_inventory(tmp_path: Path) -> None:
    """Ansible reads every file in an inventory directory: a key must not become a host."""
    secret.make_key_file(tmp_path / "webstack.key")
    lines = (tmp_path / "webstack.key").read_text().splitlines()
    assert all(line.startswith("#") for line in lines)


@pytest.mark.parametrize("sources", [[], ["web1,"], ["/does/not/exist"]])
def test_without_an_inventory_file_it_says_what_to_do(sources: list[str]) -> None:
    with pytest.raises(secret.SecretError, match="WEBSTACK_MASTER_KEY"):
        secret.master_key(sources, None, {})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "webstack.key"
    secret.make_key_file(path)
    path.chmod(mode)
    with pytest.raises(secret.SecretError, match=r"chmod 600 .*webstack\.key"):
        secret.master_key([str(tmp_path)], None, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no line"), ("# key: short\n", "at least 32"), ("abc\n", "at least 32"), ("# nothing\n", "no line")],
)
def test_a_damaged_key_file_is_never_replaced(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "webstack.key"
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(text)
    with pytest.raises(secret.SecretError, match=words):
        secret.master_key([str(tmp_path)], None, {})
    assert path.read_text() == text


def test_short_keys_are_refused() -> None:
    with pytest.raises(secret.SecretError, match="openssl rand"):
        secret.master_key([], "tooshort", {})


def _make(path: Path) -> bytes:
    return secret.master_key([str(path)], None, {})


def test_many_forks_agree_on_one_key(tmp_path: Path) -> None:
    for number in range(10):
        directory = tmp_path / str(number)
        directory.mkdir()
        with multiprocessing.get_context("fork").Pool(8) as pool:
            assert len(set(pool.map(_make, [directory] * 16))) == 1
        assert [path.name for path in directory.iterdir()] == ["webstack.key"]


def _git(directory: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    return subprocess.run([git, "-C", str(directory), *words], check=True, capture_output=True, text=True).stdout


def test_git_never_sees_the_key(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    inventory = tmp_path / "inventories" / "production"
    inventory.mkdir(parents=True)
    (inventory / ".gitignore").write_text("*.retry")
    secret.make_key_file(inventory / "webstack.key")
    assert (inventory / ".gitignore").read_text() == "*.retry\n/webstack.key\n"
    assert "webstack.key" not in _git(tmp_path, "status", "--porcelain", "-uall")
    secret.keep_out_of_git(inventory / "webstack.key")
    assert (inventory / ".gitignore").read_text() == "*.retry\n/webstack.key\n"


def test_what_git_ignores_already_is_left_alone(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("webstack.key\n")
    (tmp_path / "inventory").mkdir()
    secret.make_key_file(tmp_path / "inventory" / "webstack.key")
    assert not (tmp_path / "inventory" / ".gitignore").exists()


def test_outside_git_nothing_is_written(tmp_path: Path) -> None:
    secret.make_key_file(tmp_path / "webstack.key")
    assert [path.name for path in tmp_path.iterdir()] == ["webstack.key"]


def test_a_server_that_converges_itself_makes_no_master_key(tmp_path: Path) -> None:
    pull = {"WEBSTACK_PULL": "1"}
    with pytest.raises(
        secret.SecretError,
        match=r"a run of the server itself makes none; .* os_pull: \{variables: \{webstack_master_key: ",
    ):
        secret.master_key([str(tmp_path)], None, pull)
    assert list(tmp_path.iterdir()) == []
    assert secret.master_key([str(tmp_path)], "v" * 40, pull) == b"v" * 40
