# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets derived from one master key, by name and version (HKDF-SHA256, RFC 5869).

Nothing is stored but the master key: every controller that has it derives the same secrets, and a
secret is rotated by raising its version.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import string
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError:  # said when the first secret is asked for
    HKDF = None  # type: ignore[assignment, misc]

ENVIRONMENT = "WEBSTACK_MASTER_KEY"
VARIABLE = "webstack_master_key"
PULL = "WEBSTACK_PULL"  # set where a server converges itself (role os, os_pull)
FILE_NAME = "webstack.key"
MINIMUM = 32  # characters of a master key
_INFO = b"webstack.django/secret"
_HEX = "0123456789abcdef"
_ALNUM = string.ascii_letters + string.digits
# `django` is for SECRET_KEY: at least 50 characters (security.W009), none that an environment file must quote.
ALPHABETS = {"urlsafe": _ALNUM + "-_", "alnum": _ALNUM, "hex": _HEX, "django": _ALNUM + "-_"}
_DJANGO_MINIMUM = 50
_HKDF_LIMIT = 255 * 32  # bytes, RFC 5869 section 2.3
_MAX_LENGTH = 2048  # characters; leaves room for the bytes that are thrown away
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@:-]*\Z")
_HEADER = """\
# The master key of webstack.django: every secret of this inventory is derived from it.
# Keep a copy where you keep passwords, and keep it out of git.
"""
_LINE = re.compile(r"(?:#?\s*key:\s*(\S+)|([^#\s]\S*))\s*\Z")


class SecretError(Exception):
    """What is wrong with the master key or the request, and what to do about it."""


def hkdf(master: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF with SHA-256: ``length`` bytes of key material (RFC 5869)."""
    if HKDF is None:
        raise SecretError("Python's package cryptography is missing on this machine; install it where ansible runs")
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(master)


def derive(master: bytes, name: str, version: int = 1, length: int = 32, form: str = "alnum") -> str:
    """The secret called ``name`` in its given version, ``length`` characters of the form's alphabet.

    Every character is drawn without bias, the first one is always a letter or a digit. Raises ``SecretError``.
    """
    if not _NAME.match(name):
        raise SecretError(f"secret {name!r}: a name is letters, digits and . _ / @ : -, for instance blog/database")
    if form not in ALPHABETS:
        raise SecretError(f"secret {name}: format {form!r} is unknown; use one of {', '.join(sorted(ALPHABETS))}")
    if version < 1:
        raise SecretError(f"secret {name}: versions are counted from 1, not {version}")
    if not 8 <= length <= _MAX_LENGTH:
        raise SecretError(f"secret {name}: its length must be from 8 to {_MAX_LENGTH}, not {length}")
    if form == "django":
        length = max(length, _DJANGO_MINIMUM)
    info = b"\0".join([_INFO, name.encode(), str(version).encode()])
    stream = hkdf(master, b"", info, min(_HKDF_LIMIT, 4 * length + 128))
    chosen: list[str] = []
    for byte in stream:
        alphabet = ALPHABETS[form] if chosen or form == "hex" else _ALNUM
        if byte < 256 - 256 % len(alphabet):
            chosen.append(alphabet[byte % len(alphabet)])
        if len(chosen) == length:
            return "".join(chosen)
    raise SecretError(f"secret {name}: no {length} characters could be derived")  # about once in 2**200 keys


def key_path(inventory: Sequence[str]) -> Path:
    """Where the master key lies: in the directory of the first inventory that is a file or directory."""
    for source in inventory:
        if "," in source or not source:
            continue
        path = Path(source).expanduser().absolute()
        if path.exists():
            return (path if path.is_dir() else path.parent) / FILE_NAME
    raise SecretError(
        "there is no place for the master key: the inventory is not a file. Use an inventory file, or give the key "
        f"in the environment variable {ENVIRONMENT} or the (vaulted) variable {VARIABLE}"
    )


def master_key(
    inventory: Sequence[str],
    variable: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> bytes:
    """The master key: from the environment, else the variable, else the key file, which is made when missing.

    ``inventory`` is what ``-i`` was given (the variable ``ansible_inventory_sources``).
    """
    environment = os.environ if environ is None else environ
    given = environment.get(ENVIRONMENT)
    if given:
        return _checked(given, f"the environment variable {ENVIRONMENT}")
    if variable:
        return _checked(variable, f"the variable {VARIABLE}")
    path = key_path(inventory)
    if not path.exists():
        if environment.get(PULL):
            # One of its own would change every secret.
            raise SecretError(
                f"this server has no master key, and a run of the server itself makes none; give it the one of the controller, with "
                f"os_pull: {{variables: {{{VARIABLE}: \"{{{{ lookup('webstack.django.master_key') }}}}\"}}}}"
            )
        make_key_file(path)
    return read_key_file(path)


def of_run(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> bytes:
    """The master key of a run of Ansible; ``template`` is the templar's.

    The variable is often a template that names a vaulted one; its text alone would be a key that everybody knows.
    """
    sources = variables.get("ansible_inventory_sources") or []
    given = variables.get(VARIABLE)
    return master_key(
        [str(source) for source in ([sources] if isinstance(sources, str) else sources)],
        None if given is None else str(template(given)),
    )


def _checked(key: str, where: str) -> bytes:
    key = key.strip()
    if len(key) < MINIMUM:
        raise SecretError(
            f"the master key in {where} has {len(key)} characters, at least {MINIMUM} are needed; "
            "make one with `openssl rand -hex 32`"
        )
    return key.encode()


def read_key_file(path: Path) -> bytes:
    """The master key in a key file. Raises ``SecretError`` where others may read it or it holds none."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"the master key cannot be read: {error}") from error
    if mode & 0o077:
        raise SecretError(
            f"{path} has mode {mode:04o}: others may have read the master key. Run `chmod 600 {path}`, and if they "
            "may really have read it, replace the key (all secrets change)"
        )
    for line in lines:
        found = _LINE.match(line)
        if found:
            return _checked(found[1] or found[2], str(path))
    raise SecretError(f"{path} has no line `# key: ...`; restore it from your copy (a new key changes all secrets)")


def make_key_file(path: Path) -> None:
    """Make a key file with mode 0600. Of several processes that do so at once, one wins and all see its key.

    The key is in a comment because Ansible reads every file in an inventory directory as an inventory.
    """
    if not path.parent.is_dir():
        raise SecretError(f"{path.parent} is no directory, so the master key cannot be made there")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            file.write(f"{_HEADER}# key: {secrets.token_urlsafe(32)}\n")
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        finally:
            temporary.unlink()
    except OSError as error:
        raise SecretError(
            f"the master key cannot be made: {error}. Give it in the environment variable {ENVIRONMENT} instead"
        ) from error
    keep_out_of_git(path)


def keep_out_of_git(path: Path) -> None:
    """Write a ``.gitignore`` beside the key where it lies in a git work tree that does not ignore it yet."""
    if not any((parent / ".git").exists() for parent in path.parents):
        return
    git = shutil.which("git")
    command = [git or "git", "-C", str(path.parent), "check-ignore", "--quiet", path.name]
    if git and subprocess.run(command, check=False, capture_output=True).returncode == 0:
        return
    ignore = path.with_name(".gitignore")
    with contextlib.suppress(OSError):  # the key works without it
        before = ignore.read_text(encoding="utf-8") if ignore.exists() else ""
        if f"/{path.name}" not in before.splitlines():
            separator = "\n" if before and not before.endswith("\n") else ""
            ignore.write_text(f"{before}{separator}/{path.name}\n", encoding="utf-8")
