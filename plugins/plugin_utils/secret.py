# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets derived from one master key.

Every secret is HKDF-SHA256 (RFC 5869) of the master key, with the secret's name and version as the
``info``: stateless, the same on every controller that has the key, and of no use to find another one.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
import string
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_FILE = "webstack.key"
KEY_BYTES = 32  # the output length of SHA-256, the strength that HKDF can carry (RFC 5869, 3.3)
ENVIRONMENT = "WEBSTACK_MASTER_KEY"
FORMATS = ("urlsafe", "hex", "alnum")
_ALNUM = string.ascii_letters + string.digits


class SecretError(Exception):
    """A secret cannot be made; the message says what to do."""


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 of RFC 5869. Raises ``ValueError`` for a length beyond 255 x 32 bytes."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt or None, info=info).derive(key)


def derive(master: bytes, name: str, version: int = 1, length: int = 32, form: str = "alnum") -> str:
    """Derive one secret.

    Args:
        master: the master key, at least 16 bytes.
        name: what the secret is for, for instance ``blog/database``.
        version: raise it to rotate this secret.
        length: bytes of the secret for ``hex`` and ``urlsafe``, characters for ``alnum``.
        form: ``alnum`` (letters and digits, safe in URLs, SQL and shells), ``hex`` or ``urlsafe`` (base64).

    Raises:
        SecretError: the arguments are out of range.
    """
    if len(master) < 16:
        raise SecretError("the master key is shorter than 16 bytes; make one with `openssl rand -hex 32`")
    if form not in FORMATS:
        raise SecretError(f"secret {name}: unknown format {form!r}; one of {', '.join(FORMATS)}")
    if version < 1 or not 8 <= length <= 1024:
        raise SecretError(f"secret {name}: version must be at least 1 and length between 8 and 1024")
    info = f"webstack.django/{name}/{version}".encode()
    if form == "hex":
        return hkdf(master, b"webstack.django", info, length).hex()
    if form == "urlsafe":
        return base64.urlsafe_b64encode(hkdf(master, b"webstack.django", info, length)).rstrip(b"=").decode()
    # Rejection sampling keeps every character equally likely: 248 is the largest multiple of 62 in a byte.
    raw = hkdf(master, b"webstack.django", info, min(2 * length + 64, 255 * 32))
    characters = [_ALNUM[byte % len(_ALNUM)] for byte in raw if byte < 248]
    return "".join(characters[:length])


def parse(text: str) -> bytes:
    """The bytes of a master key as a user gives it (any text of at least 32 characters)."""
    text = text.strip()
    if len(text) < 32:
        raise SecretError("the master key is shorter than 32 characters; make one with `openssl rand -hex 32`")
    return text.encode()


def master_key(inventory: list[str], variable: str | None = None) -> bytes:
    """Find the master key, or make it on the first run.

    Looked for in the environment (``WEBSTACK_MASTER_KEY``), in the variable ``webstack_master_key`` and in the
    file ``webstack.key`` beside the inventory, in this order.

    Args:
        inventory: the sources of the inventory as they were given to Ansible.
        variable: the value of ``webstack_master_key``, if any.

    Raises:
        SecretError: the key is too short, or its file may be read by others, or cannot be made.
    """
    given = os.environ.get(ENVIRONMENT) or variable
    if given:
        return parse(given)
    path = key_path(inventory)
    try:
        return _read(path)
    except FileNotFoundError:
        return _make(path)


def key_path(inventory: list[str]) -> Path:
    """Where the key file is: beside the first source of the inventory that is a file or a directory."""
    for source in inventory:
        path = Path(source)
        if "," not in source and path.exists():
            return (path if path.is_dir() else path.parent).resolve() / KEY_FILE
    raise SecretError(
        "there is no inventory file to keep the master key beside; set WEBSTACK_MASTER_KEY "
        "(make one with `openssl rand -hex 32`) or use an inventory directory"
    )


def _read(path: Path) -> bytes:
    info = path.stat()
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise SecretError(f"{path}: others may read the master key; run `chmod 600 {path}`")
    return parse(path.read_text())


def _make(path: Path) -> bytes:
    """Write a new key; of several processes that try at once, one wins and all read its key."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        _ignore(path)
    except OSError as error:
        raise SecretError(
            f"{path}: the master key cannot be written ({error.strerror}); make the directory writable or "
            f"set {ENVIRONMENT}"
        ) from error
    return _read(path)


def _ignore(path: Path) -> None:
    """Keep the key out of git."""
    ignore = path.with_name(".gitignore")
    lines = ignore.read_text().splitlines() if ignore.exists() else []
    if path.name not in lines:
        ignore.write_text("\n".join([*lines, path.name]) + "\n")
