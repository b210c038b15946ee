"""Apache as those who run it see it: mistakes, reloads, rights, retiring."""

from __future__ import annotations

import copy

SITE = "https://blog.example.com"
PROCESS = "systemctl show -p MainPID --value apache2"


def status(browse, url=f"{SITE}/"):
    return browse({"url": url})[0]["status"]


def test_few_rights(host):
    score = host.check_output("systemd-analyze security --no-pager apache2.service | tail -n 1").split()
    assert float(next(word for word in score if word[0].isdigit())) <= 2.5


def test_a_mistake_in_the_lines_of_a_site_is_refused(host, browse, playbook, variables):
    sites = copy.deepcopy(variables["apache_sites"])
    sites[0]["extra"] = "NoSuchDirective On"
    run = playbook({"apache_sites": sites})
    assert run.rc != 0
    assert "Invalid command 'NoSuchDirective'" in run.output
    assert "the old configuration stays in place" in run.output
    assert status(browse, f"{SITE}/status.txt") == 204


def test_what_apache_finds_only_when_it_starts_is_refused_too(host, browse, playbook, variables):
    """`apachectl configtest` says `Syntax OK` to a key of another certificate, and a reload would end Apache."""
    sites = copy.deepcopy(variables["apache_sites"])
    sites[0]["tls"] |= {"key": "/etc/webstack/tls/numbers/privkey.pem", "selfsigned": False}
    run = playbook({"apache_sites": sites})
    assert run.rc != 0
    assert "/etc/webstack/tls/numbers/privkey.pem do not match" in run.output
    assert "the old configuration stays in place" in run.output
    assert status(browse) == 200


def test_a_reload_that_apache_cannot_follow_fails_the_run(host, browse, playbook):
    settings = {"apache_settings": {"Timeout": 50, "Listen": "127.0.0.1:8099"}}
    host.check_output("systemd-run --unit=intruder python3 -m http.server --bind 127.0.0.1 8099")
    host.check_output("timeout 30 sh -c 'until ss -Hlnt sport = :8099 | grep -q .; do sleep 0.1; done'")
    before = host.check_output(PROCESS)
    try:
        run = playbook(settings)
        assert run.rc != 0
        assert "Apache goes on with its old configuration" in run.output
        assert "127.0.0.1 port 8099: Address already in use" in run.output
        assert status(browse) == 200
        host.check_output("systemctl stop intruder")
        # Nothing is left to be written, and yet the next run heals it.
        run = playbook(settings)
        assert run.rc == 0, run.output
        assert host.socket("tcp://127.0.0.1:8099").is_listening
        assert host.check_output(PROCESS) == before
    finally:
        host.run("systemctl stop intruder")


def test_drift_is_put_back(host, browse, playbook):
    """What somebody changed by hand, and the port that the test before has opened."""
    host.check_output(
        "cp /etc/apache2/sites-available/webstack-blog.conf /etc/apache2/sites-enabled/webstack-evil.conf"
    )
    host.check_output("ln -sf ../sites-available/000-default.conf /etc/apache2/sites-enabled/000-default.conf")
    host.check_output("ln -sf ../mods-available/status.load /etc/apache2/mods-enabled/status.load")
    host.check_output("rm /etc/apache2/mods-enabled/brotli.load; echo x > /etc/apache2/webstack/webstack.html")
    run = playbook()
    assert run.rc == 0, run.output
    for path in ("sites-enabled/webstack-evil.conf", "sites-enabled/000-default.conf", "mods-enabled/status.load"):
        assert not host.file(f"/etc/apache2/{path}").exists
    assert host.file("/etc/apache2/mods-enabled/brotli.load").is_symlink
    assert "Temporarily unavailable" in host.file("/etc/apache2/webstack/webstack.html").content_string
    assert not host.socket("tcp://127.0.0.1:8099").is_listening
    assert status(browse) == 200


def test_a_new_certificate_is_served(host, playbook):
    number = "openssl x509 -noout -serial"
    served = f"openssl s_client -connect 127.0.0.1:443 -servername blog.example.com </dev/null | {number}"
    before = host.check_output(served)
    host.check_output("rm /etc/webstack/tls/blog/fullchain.pem")
    run = playbook()
    assert run.rc == 0, run.output
    after = host.check_output(f"{number} -in /etc/webstack/tls/blog/fullchain.pem")
    assert host.check_output(served) == after != before


def test_a_check_of_a_new_site(host, playbook, variables):
    """Its certificate, which Apache looks for, is not there yet."""
    tls = {"certificate": "/etc/webstack/tls/new/fullchain.pem", "key": "/etc/webstack/tls/new/privkey.pem"}
    new = {"name": "new", "domains": ["new.example.com"], "upstream": [{"address": "127.0.0.1:8002"}]}
    sites = [*variables["apache_sites"], new | {"tls": tls | {"selfsigned": True}}]
    run = playbook({"apache_sites": sites}, check=True)
    assert run.rc == 0, run.output
    assert run.changed == 2  # certificate, configuration
    assert not host.file("/etc/apache2/sites-available/webstack-new.conf").exists


def test_the_welcome_page_of_the_distribution_never_answered(host):
    first = host.check_output("journalctl -q -u apache2 -o short-unix | head -n 1").split()[0]
    assert float(first) > int(host.check_output("stat -c %W /var/www/webstack-acme"))


def test_apache_comes_back_after_a_crash(host, browse):
    before = host.check_output(PROCESS)
    host.check_output("systemctl kill --kill-who=all --signal=KILL apache2")
    host.check_output(f"timeout 30 sh -c 'while {PROCESS} | grep -qxE \"0|{before}\"; do sleep 0.1; done'")
    assert status(browse) == 200


# Visitors who come at once and wait for 3 seconds, while others come again on connections that they keep; then all of them
# come again on the same connections, when it has been quiet for a while.
RUSH = """
import http.client, ssl, threading, time
context = ssl._create_unverified_context()
visitors = [http.client.HTTPSConnection("127.0.0.3", context=context, timeout=60) for _ in range(160)]
failed = []
def ask(visitor, path):
    try:
        visitor.auto_open = visitor.sock is None
        visitor.request("GET", path)
        assert visitor.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        failed.append(repr(error))
[ask(one, "/") for one in visitors[140:]]
threads = [threading.Thread(target=ask, args=(one, "/slow")) for one in visitors[:140]]
[one.start() for one in threads]
time.sleep(1.5)
[ask(one, "/") for one in visitors[140:]]
print(len(failed), failed[:1])
[one.join() for one in threads]
time.sleep(8)
[ask(one, "/") for one in visitors]
print(len(failed), failed[:1])
"""


def test_a_rush_of_visitors_ends_and_no_connection_does(host):
    """A process that is given up closes the connections that are kept, and one with no thread left as well."""
    host.check_output("systemctl restart apache2")  # no more processes than at first
    assert host.check_output(f"python3 - <<'END'{RUSH}END").splitlines() == ["0 []", "0 []"]


# Has a port that Apache needs.
OLD = """[Service]
ExecStart=/usr/bin/python3 -m http.server 80
[Install]
WantedBy=multi-user.target
"""


def test_retired_and_back_again(host, browse, playbook):
    run = playbook(path="../shared/retire.yml")
    assert run.rc == 0, run.output
    assert not host.service("apache2").is_running
    assert not host.service("apache2").is_enabled
    assert host.run("grep -rl 'webstack.django.apache' /etc /usr/local /var/www").stdout == ""
    assert host.run("find -L /etc/apache2 -type l").stdout == ""  # dangling links
    assert host.file("/etc/apache2/sites-enabled/000-default.conf").is_symlink
    assert not host.file("/etc/webstack/tls/_default").exists
    assert host.file("/etc/webstack/tls/blog/privkey.pem").exists
    assert host.file("/var/www/webstack-acme").is_directory
    assert host.check_output("systemctl show -p DropInPaths apache2").count("apache2.service.d") == 0
    assert host.run("apachectl -t").rc == 0
    run = playbook({"apache_state": "absent"}, path="../shared/retire.yml")
    assert (run.rc, run.changed) == (0, 1), run.output  # the packages; what was retired before is left alone
    assert not host.package("apache2").is_installed
    host.check_output("printf %%s %s > /etc/systemd/system/old.service; systemctl daemon-reload", OLD)
    host.check_output("systemctl enable --now old")
    host.check_output("timeout 30 sh -c 'until ss -Hlnt sport = :80 | grep -q .; do sleep 0.1; done'")
    run = playbook({"apache_replaces": ["old.service", "never-there.service"]})
    assert run.rc == 0, run.output
    assert not host.service("old").is_running
    assert not host.service("old").is_enabled
    assert status(browse) == 200
