# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring the certificates of all sites into their state: decide, look, ask by way of certbot, and say what came of it."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import ssl
import tempfile
import time
import urllib.request
from typing import Any, Callable, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.acme import answers, dns, state
from ansible_collections.webstack.django.plugins.module_utils.acme.preflight import Preflight, own_addresses
from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.selfsigned import Certificate
from ansible_collections.webstack.django.plugins.module_utils.services import Manager as Services
from ansible_collections.webstack.django.plugins.module_utils.services_drift import entries

PRODUCTION = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
INSTALL = "/usr/local/lib/webstack/tls-install"
_HOOK = ["/usr/bin/python3", INSTALL]
EAB = os.path.join(state.HOME, "eab.ini")
_TRIES = 3  # where an authority refuses good nonces; certbot tries twice each time
_DIRECTORY_SECONDS = 20.0

Runner = Callable[[list[str]], tuple[int, str, str]]


class TlsError(Exception):
    """Something that the user has to repair on the host; the message is for the user."""


class Report(NamedTuple):
    """What there is to say of one site."""

    state: str  # valid, issued, waiting, blocked, failed, selfsigned, provided, off, absent
    words: str = ""  # what the user should know; empty where all is well
    days: int | None = None  # until its certificate ends


def moment(seconds: float) -> str:
    """``2026-11-30 10:00 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


class Manager:
    """The sites of one host.

    Args:
        options: those of the module.
        run: runs a command.
        check_mode: whether nothing is to be changed.
    """

    def __init__(
        self, options: dict[str, Any], run: Runner, check_mode: bool, home: str = state.HOME, now: float | None = None
    ) -> None:
        self.options = options
        self.run = run
        self.check_mode = check_mode
        self.home = home
        self.now = time.time() if now is None else now
        self.directory = str(options["directory"] or (STAGING if options["staging"] else PRODUCTION))
        self.authority = (
            "Let's Encrypt" if "letsencrypt.org" in self.directory else str(urlsplit(self.directory).netloc)
        )
        self.actions: list[str] = []
        self.reports: dict[str, Report] = {}
        self._known: dict[str, Any] | str | None = None

    def converge(self) -> None:
        """All sites, one after another; what one lacks does not stop the others."""
        for site in self.options["certificates"]:
            self.reports[site["name"]] = self._acme(site) if site["mode"] == "acme" else self._other(site)
        self._reload()

    def _reload(self) -> None:
        """Have the web server that runs read what it has not read yet."""
        served = [site for site in self.options["certificates"] if site["mode"] not in ("off", "absent")]
        files = [site[key] for site in served for key in ("certificate", "key")]
        services = Services(self.run)
        for unit in self.options["units"]:
            if self.run(["systemctl", "is-active", "--quiet", "--", unit])[0] == 0:
                done = services.converge([{"name": unit, "reload_on": files}], self.check_mode)
                self.actions += [drift.Action(words, *entries(services.found)) for words in done]

    # Sites whose certificate is not asked for ------------------------------------------------------

    def _other(self, site: dict[str, Any]) -> Report:
        lineage = state.Lineage(site["name"], self.home)
        if not site["keep"] and lineage.paths:
            self._do("renew the certificate of site %s no more" % site["name"], lineage.remove)
        mode = str(site["mode"])
        if mode in ("off", "absent"):
            return Report(mode)
        found = state.read(site["certificate"], self.run)
        if mode == "selfsigned" and not site["keep"] and found and not found.own:
            one = Certificate(site["certificate"], site["key"], site["domains"], self.run)
            self._do("make a self-signed certificate for site %s" % site["name"], one.make)
            found = state.read(site["certificate"], self.run) if not self.check_mode else None
        days = int(found.left(self.now) // state.DAY) if found else None
        words = str(site["reason"] or "")
        if found and not found.own and found.ending(self.now):
            words = "its certificate %s; %s" % (
                self._end(found),
                "give a newer one (tls.certificate and tls.key)"
                if mode == "provided"
                else "nobody renews it here (set tls_email, or tls: provided)",
            )
        return Report(mode, words, days)

    def _end(self, found: state.Pem) -> str:
        left = found.left(self.now)
        return (
            "ended on %s" % moment(found.ends)
            if left < 0
            else "ends on %s, in %d days" % (moment(found.ends), left // state.DAY)
        )

    def _do(self, words: str, action: Callable[[], Any]) -> None:
        self.actions.append(words)
        if not self.check_mode:
            action()

    # Sites whose certificate an authority signs ------------------------------------------------------

    def _acme(self, site: dict[str, Any]) -> Report:
        name = site["name"]
        lineage, notes = state.Lineage(name, self.home), state.Notes(name, self.home)
        found = state.read(lineage.certificate, self.run)
        installed = state.same(lineage.certificate, site["certificate"]) and state.same(lineage.key, site["key"])
        verb, why = state.decide(
            state.Situation(
                site["domains"], self.directory, found, lineage.server(), installed, notes.renewal(), self.now
            )
        )
        if verb == "ok" and found:
            return Report("valid", "", int(found.left(self.now) // state.DAY))
        if verb == "install" and found:
            self._do("install the certificate of site %s" % name, lambda: self._install([name]))
            return Report("issued", "", int(found.left(self.now) // state.DAY))
        report = self._order(site, lineage, notes, why)
        serving = state.read(site["certificate"], self.run)
        if report.state == "issued" or not serving:
            return report
        what = (
            "a self-signed certificate serves until then"
            if serving.own
            else "the certificate that serves %s" % self._end(serving)
        )
        return report._replace(words="%s; %s" % (report.words, what), days=int(serving.left(self.now) // state.DAY))

    def _order(self, site: dict[str, Any], lineage: state.Lineage, notes: state.Notes, why: str) -> Report:
        account = {key: self.options[key] for key in ("email", "eab_kid")}
        signature = state.signature(site["domains"], {**account, "directory": self.directory})
        before = notes.failure()
        same = before.get("signature") == signature and float(before.get("until") or 0) > self.now
        if same and before.get("kind") == "validation":
            same = before.get("addresses") == self._addresses(site["domains"])  # new records are worth another look
        if same and not self.options["retry"]:
            words = "%s refused at %s: %s. It is not asked again before %s (or when something changed, or with -e tls_acme_retry=true)"
            return Report(
                "blocked",
                words
                % (
                    self.authority,
                    moment(float(before.get("time") or 0)),
                    before.get("words"),
                    moment(float(before["until"])),
                ),
            )
        if self.check_mode and not os.path.isdir(os.path.dirname(INSTALL)):
            self.actions.append(self._question(site, why))  # nothing is set up yet
            return Report("waiting", "a certificate would be asked for")
        problems = self._problems(site["domains"])
        if problems:
            return Report("waiting", "no certificate of %s yet. %s" % (self.authority, "; ".join(problems)))
        self.actions.append(self._question(site, why))
        if self.check_mode:
            return Report("waiting", "a certificate would be asked for")
        failure = self._ask(site)
        if failure:
            notes.write(
                signature=signature, time=self.now, addresses=self._addresses(site["domains"]), **failure._asdict()
            )
            return Report("failed", self._advice(failure))
        if not (state.same(lineage.certificate, site["certificate"]) and state.same(lineage.key, site["key"])):
            self._install([site["name"]])
        found = state.read(lineage.certificate, self.run)
        notes.clear()
        return Report("issued", "", int(found.left(self.now) // state.DAY) if found else None)

    def _question(self, site: dict[str, Any], why: str) -> str:
        names = ", ".join(site["domains"])
        words = "ask %s for a certificate of %s for site %s: %s" % (self.authority, names, site["name"], why)
        wanted = "a certificate of %s for %s" % (self.authority, names)
        return drift.Action(words, drift.entry(site["certificate"], wanted, why, None, site["name"]))

    def _problems(self, domains: list[str]) -> list[str]:
        """Why the authority is not to be asked."""
        directory = self._look()
        if isinstance(directory, str):
            return ["It cannot be reached: %s. Nothing else is wrong so far; the next run asks again" % directory]
        meta = directory.get("meta") or {}
        if meta.get("externalAccountRequired") and not self.options["eab_kid"]:
            return ["It asks for an external account: set tls_acme_eab_kid and tls_acme_eab_hmac_key"]
        if not self.options["preflight"]:
            return []
        public = "letsencrypt.org" in self.directory
        looker = Preflight(
            self.options["webroot"], self._resolvers(), meta.get("caaIdentities") or [], own_addresses(self.run), public
        )
        try:
            return looker.problems(domains)
        except OSError as error:
            raise TlsError("tls_acme_root %s cannot be written: %s" % (self.options["webroot"], error)) from None

    def _resolvers(self) -> list[dns.Server]:
        return [dns.server(one) for one in self.options["resolvers"]] or dns.system_servers()

    def _addresses(self, domains: list[str]) -> dict[str, list[str]]:
        """Where the domains lead to now."""
        found = {}
        for name in domains:
            try:
                found[name] = sorted(dns.addresses(name, self._resolvers()))
            except dns.DnsError:
                found[name] = []
        return found

    def _look(self) -> dict[str, Any] | str:
        """The authority's directory, or why there is none; asked for once."""
        if self._known is None:
            request = urllib.request.Request(self.directory, headers={"User-Agent": "webstack.django"})
            try:
                https = urllib.request.HTTPSHandler(context=ssl.create_default_context())
                with urllib.request.build_opener(https).open(request, timeout=_DIRECTORY_SECONDS) as reply:
                    found = json.load(reply)
                self._known = found if isinstance(found, dict) else "%s is no ACME directory" % self.directory
            except (OSError, ValueError) as error:  # a URLError is an OSError
                self._known = "%s: %s" % (self.directory, getattr(error, "reason", None) or error)
            except Exception as error:  # http.client raises others
                self._known = "%s: %s" % (self.directory, type(error).__name__)
        return self._known

    # certbot ---------------------------------------------------------------------------------------

    def command(self, site: dict[str, Any], logs: str) -> list[str]:
        """The command line that asks for one certificate. No secret is in it."""
        email = self.options["email"]
        command = [
            "certbot",
            "certonly",
            "--non-interactive",
            "--agree-tos",
            "--no-eff-email",
            "--server",
            self.directory,
        ]
        command += ["--config-dir", self.home, "--work-dir", os.path.join(self.home, "work"), "--logs-dir", logs]
        command += ["--email", email] if email else ["--register-unsafely-without-email"]
        command += ["--config", EAB] if os.path.exists(EAB) else []
        command += [
            "--authenticator",
            "webroot",
            "--webroot-path",
            self.options["webroot"],
            "--deploy-hook",
            " ".join(_HOOK),
        ]
        command += ["--key-type", "ecdsa", "--elliptic-curve", "secp256r1", "--cert-name", site["name"]]
        command += ["--force-renewal", "--renew-with-new-domains"]
        return command + [word for domain in site["domains"] for word in ("-d", domain)]

    def _ask(self, site: dict[str, Any]) -> answers.Failure | None:
        """Order a certificate. An account that the authority does not know any more is replaced by a new one, once."""
        self._heal(state.Lineage(site["name"], self.home))
        anew = False
        tries = 0
        while True:
            tries += 1
            failure = self._certbot(site)
            if failure is None:
                if anew:
                    self._share_account(site["name"])
                return None
            if failure.kind == "account" and not anew:
                anew = True
                self.actions.append("register anew with %s, which says: %s" % (self.authority, failure.words))
                self._forget_account()
            elif failure.kind != "nonce" or tries >= _TRIES:
                return failure

    def _heal(self, lineage: state.Lineage) -> None:
        """Forget what certbot cannot read: it would put the certificate elsewhere (``blog-0001``), and so again at each run."""
        if not os.path.lexists(lineage.renewal) and not os.path.lexists(os.path.dirname(lineage.certificate)):
            return
        place = ["--config-dir", self.home, "--work-dir", os.path.join(self.home, "work"), "--logs-dir", state.LOGS]
        _code, output, _error = self.run(
            ["certbot", "certificates", "--max-log-backups", "10", *place, "--cert-name", lineage.site]
        )
        if not re.search(r"^ *Certificate Name: %s$" % re.escape(lineage.site), output, re.MULTILINE):
            self.actions.append("forget what certbot has of site %s, which it cannot read any more" % lineage.site)
            lineage.remove()

    def _certbot(self, site: dict[str, Any]) -> answers.Failure | None:
        os.makedirs(state.LOGS, mode=0o700, exist_ok=True)
        logs = tempfile.mkdtemp(prefix=".webstack-", dir=state.LOGS)
        try:
            code, output, error = self.run(self.command(site, logs))
            path = os.path.join(logs, "letsencrypt.log")
            log = ""
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    log = file.read()
                os.replace(path, os.path.join(state.LOGS, site["name"] + ".log"))
            return None if code == 0 else answers.classify(log, output + error, self.now)
        finally:
            shutil.rmtree(logs)

    def _forget_account(self) -> None:
        """Lay the account aside, with its key."""
        parts = urlsplit(self.directory)
        path = os.path.join(self.home, "accounts", parts.netloc, *parts.path.strip("/").split("/"))
        if os.path.isdir(path):
            aside = os.path.join(self.home, "accounts.old", "%s-%d" % (parts.netloc, self.now))
            os.makedirs(os.path.dirname(aside), mode=0o700, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(path, aside)

    def _share_account(self, name: str) -> None:
        """Renew the other certificates of this authority with the new account as well: they name the old one."""
        fresh = state.Lineage(name, self.home)
        account = re.search(r"^account = .*$", files.read_text(fresh.renewal) or "", re.MULTILINE)
        for path in glob.glob(os.path.join(glob.escape(self.home), "renewal", "*.conf")):
            text = files.read_text(path) or ""
            if account and "server = %s\n" % self.directory in text:
                files.write(path, re.sub(r"(?m)^account = .*$", account.group(0), text), 0o600)

    def _advice(self, failure: answers.Failure) -> str:
        until = (
            " It is asked again from %s on." % moment(failure.until) if failure.until else " The next run asks again."
        )
        return {
            "validation": "%s could not validate it: %s.",
            "rate": "%s has given too many certificates just now: %s.",
            "account": "%s does not take the account, not even a new one: %s.",
            "banned": "%s has shut the account out, and to register another one is for you to decide: %s. The account lies in "
            + self.home
            + "/accounts.",
            "nonce": "%s refused the nonces that it had given itself: %s.",
            "unreachable": "%s cannot be reached: %s.",
            "busy": "%s was not asked, since the timer renews just now: %s.",
            "refused": "%s refused: %s.",
            "unknown": "%s: certbot failed: %s.",
        }[failure.kind] % (self.authority, failure.words.rstrip(".")) + until

    def _install(self, names: list[str]) -> None:
        code, output, error = self.run([*_HOOK, *names])
        if code != 0:
            raise TlsError("%s: %s" % (INSTALL, (error or output).strip()))
