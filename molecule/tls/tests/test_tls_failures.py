"""Authorities that refuse, forget or do not answer, and certificates that nobody renews; after test_tls.py."""

from __future__ import annotations

import re
import time

from life import asked, due, record, selfsigned, sites, trusted, words


def test_a_refused_validation_is_not_repeated_at_once(host, certificates):
    """The authority sees what the server does not."""
    odd = sites(shop={"domains": ["shop.example.com", "odd.example.com"]})
    run = certificates(odd, tls_acme_preflight=False)
    assert run.rc == 0, run.output
    assert "site shop: localhost:14001 could not validate it: odd.example.com: " in words(run)
    assert "(connection). It is asked again from" in words(run)
    assert trusted(host, "shop.example.com")
    before = asked(host)
    again = certificates(odd, tls_acme_preflight=False)
    assert (again.rc, again.changed, asked(host)) == (0, 0, before), again.output
    assert "site shop: localhost:14001 refused at " in words(again)
    assert "It is not asked again before" in words(again)
    assert certificates(odd, tls_acme_preflight=False, tls_acme_retry=True).rc == 0
    assert asked(host) == before + 1
    record(host, "odd.example.com", "127.0.0.1")  # which is worth another look
    assert certificates(odd).changed == 1
    assert certificates().changed == 1


def test_rate_limit(host, certificates):
    host.check_output("echo 7200 > /run/front/rate")
    two = sites(blog={"domains": ["blog.example.com"]})
    run = certificates(two)
    assert run.rc == 0, run.output
    assert (
        "site blog: localhost:14001 has given too many certificates just now: too many certificates (5) already issued"
        in words(run)
    )
    until = re.search(r"It is asked again from [\d-]+ (\d\d):(\d\d) UTC on", words(run))
    now = host.check_output("date -u +%H:%M").split(":")
    ahead = (int(until[1]) - int(now[0])) * 60 + int(until[2]) - int(now[1])
    assert ahead % 1440 in (118, 119, 120)
    assert trusted(host, "blog.example.com")
    before = asked(host)
    assert "has given too many certificates" not in words(certificates(two))
    assert asked(host) == before
    host.check_output("rm /run/front/rate")
    assert certificates(two, tls_acme_retry=True).changed == 1
    assert certificates().changed == 1


def test_an_authority_that_cannot_be_reached(host, certificates):
    host.check_output("touch /run/front/down")
    two = sites(blog={"domains": ["blog.example.com"]})
    run = certificates(two)
    assert (run.rc, run.changed) == (0, 0), run.output
    assert (
        "site blog: no certificate of localhost:14001 yet. It cannot be reached: https://localhost:14001/dir"
        in words(run)
    )
    assert trusted(host, "blog.example.com")
    due(host, "blog")
    assert host.run("systemctl start webstack-acme.service").rc == 0  # there is time yet
    assert "site blog: its certificate ends in 90 days; its renewal failed" in words_of(
        host
    ) or "ends in 89 days" in words_of(host)
    host.check_output("rm /run/front/down")
    run = certificates()
    assert "for site blog: its last renewal failed" in words(run)
    assert (run.rc, run.changed) == (0, 1), run.output
    assert certificates().changed == 0


def words_of(host):
    return host.check_output("journalctl -t webstack-tls -o cat --no-pager -n 20")


def test_a_deactivated_account(host, certificates):
    home, accounts = "/var/lib/webstack-acme", "/var/lib/webstack-acme/accounts"
    host.check_output(f"cp -a {accounts} /root/accounts")
    host.check_output(
        f"certbot unregister -n --config-dir {home} --work-dir /tmp/w --logs-dir /tmp/l --server https://localhost:14001/dir"
    )
    host.check_output(f"rm -rf {accounts}; mv /root/accounts {accounts}")
    run = certificates(sites(blog={"domains": ["blog.example.com"]}))
    assert (run.rc, run.changed) == (0, 1), run.output
    assert "register anew with localhost:14001, which says: Account has been deactivated (unauthorized)" in words(run)
    assert trusted(host, "blog.example.com")
    assert host.check_output(f"find {home}/accounts.old -name private_key.json") != ""
    # The other site's certificate is renewed with it as well.
    assert host.check_output(f"grep -h ^account {home}/renewal/*.conf | sort -u | wc -l") == "1"
    assert certificates().changed == 1


def test_an_expired_certificate(host, certificates):
    """Signed for five seconds by an authority that has forgotten the account as well."""
    host.check_output("python3 /opt/pebble/pebble.py 5 0")
    run = certificates(sites(blog={"domains": ["blog.example.com"]}))
    assert run.rc == 0, run.output
    time.sleep(6)
    assert not trusted(host, "blog.example.com")
    host.check_output("touch /run/front/down")
    failed = host.run("systemctl start webstack-acme.service")
    assert failed.rc != 0
    assert "site blog: its certificate has ended" in words_of(host)
    host.check_output("systemctl reset-failed webstack-acme.service; rm /run/front/down")
    host.check_output("python3 /opt/pebble/pebble.py 7776000 0")
    run = certificates()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert trusted(host, "blog.example.com")


def test_nonces_that_are_refused(host, certificates):
    host.check_output("python3 /opt/pebble/pebble.py 7776000 100")
    shorter = sites(blog={"domains": ["blog.example.com"]})
    run = certificates(shorter)
    assert run.rc == 0, run.output
    assert "site blog: localhost:14001 refused the nonces that it had given itself" in words(run)
    assert "The next run asks again." in words(run)
    assert not selfsigned(host, "blog.example.com")
    host.check_output("python3 /opt/pebble/pebble.py 7776000 5")
    assert certificates(shorter).changed == 1
    assert trusted(host, "blog.example.com")
    assert certificates().changed == 1


def test_what_certbot_cannot_read_any_more(host, certificates):
    """It would make blog-0001 of it, which nobody installs, at each run."""
    host.check_output("echo broken > /var/lib/webstack-acme/renewal/blog.conf")
    run = certificates()
    assert "forget what certbot has of site blog, which it cannot read any more" in run.output
    assert (run.rc, run.changed) == (0, 1), run.output
    assert certificates().changed == 0
    assert host.check_output("ls /var/lib/webstack-acme/renewal").split() == ["blog.conf", "shop.conf"]
    assert trusted(host, "blog.example.com")


def test_nothing_is_renewed_that_is_not_wanted(host, certificates):
    gone = sites(shop={"mode": "selfsigned"})
    run = certificates(gone)
    assert (run.rc, run.changed) == (0, 1), run.output
    assert "renew the certificate of site shop no more" in run.output
    assert not host.file("/var/lib/webstack-acme/renewal/shop.conf").exists
    assert selfsigned(host, "shop.example.com")
    assert certificates(gone).changed == 0
    assert host.file("/var/lib/webstack-acme/accounts").exists
    assert certificates().changed == 1
    assert trusted(host, "shop.example.com")


def test_the_unit_has_few_rights(host):
    found = host.check_output("systemd-analyze security webstack-acme.service | tail -n 1")
    assert float(re.search(r"service: ([\d.]+)", found)[1]) <= 2.5
    assert host.check_output("systemctl is-enabled webstack-acme.timer") == "enabled"
