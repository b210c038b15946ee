"""nginx as those who run it see it: rights, what it replaces, retiring."""

from __future__ import annotations

SITE = "https://blog.example.com"
OLD = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


def test_few_rights(host):
    score = host.check_output("systemd-analyze security --no-pager nginx.service | tail -n 1").split()
    assert float(next(word for word in score if word[0].isdigit())) <= 2.5
    limit = host.check_output("grep 'Max open files' /proc/$(systemctl show -p MainPID --value nginx)/limits")
    assert limit.split()[3] == "8192"
    assert (
        host.run("grep -E 'alert|emerg' /var/log/nginx/error.log | grep -E 'setrlimit|Operation not permitted'").rc == 1
    )


def test_retired_and_back_again(host, browse, playbook):
    run = playbook(path="../shared/retire.yml")
    assert run.rc == 0, run.output
    assert not host.service("nginx").is_running
    assert not host.service("nginx").is_enabled
    assert host.run("grep -rl 'webstack.django.nginx' /etc /usr/local /var/www").stdout == ""
    assert not host.file("/etc/nginx/nginx.conf").exists
    assert host.file("/etc/webstack/tls/blog/privkey.pem").exists
    assert host.file("/var/www/webstack-acme").is_directory
    assert host.check_output("systemctl show -p DropInPaths nginx").count("nginx.service.d") == 0
    assert playbook(path="../shared/retire.yml").changed == 0
    run = playbook({"nginx_state": "absent"}, path="../shared/retire.yml")
    assert run.rc == 0, run.output
    assert not host.package("nginx").is_installed
    host.check_output("printf %%s %s > /etc/systemd/system/old.service; systemctl daemon-reload", OLD)
    host.check_output("systemctl enable --now old")
    run = playbook({"nginx_replaces": ["old.service", "never-there.service"]})
    assert run.rc == 0, run.output
    assert not host.service("old").is_running
    assert not host.service("old").is_enabled
    assert browse({"url": f"{SITE}/"})[0]["status"] == 200
