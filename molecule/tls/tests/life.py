"""What the tests of certificates have in common: records, what visitors see, what the authority was asked."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import yaml

SCENARIO = yaml.safe_load((Path(__file__).parents[1] / "molecule.yml").read_text())
SITES = SCENARIO["provisioner"]["inventory"]["group_vars"]["all"]["tls_certificates"]
LIVE = "/etc/webstack/tls/{}/{}.pem"
NAMES = ("blog.example.com", "www.example.com", "shop.example.com")


def sites(**changes):
    """The sites of the scenario, with changes: sites(blog={"domains": [...]})."""
    found = copy.deepcopy(SITES)
    for site in found:
        site.update(changes.get(site["name"], {}))
    return found


def resolver(host, verb, body):
    host.check_output("curl -sf http://127.0.0.1:8055/%s -d %s", verb, json.dumps(body))


def record(host, name, *addresses, kind="a"):
    """The records of a name; none takes them away."""
    resolver(host, f"clear-{kind}", {"host": name})
    if addresses:
        resolver(host, f"add-{kind}", {"host": name, "addresses": addresses})


def served(host, name):
    """What a visitor is shown: issuer, serial, end."""
    ask = "openssl s_client -connect 127.0.0.1:443 -servername %s </dev/null 2>/dev/null | openssl x509 -noout -issuer -serial -enddate"
    return dict(line.split("=", 1) for line in host.check_output(ask, name).splitlines())


def selfsigned(host, name):
    return "self-signed by webstack.django" in served(host, name)["issuer"]


def trusted(host, name):
    """Whether a strict client gets the page."""
    ask = "curl -sf --cacert /opt/pebble/root.pem --resolve %s:443:127.0.0.1 https://%s/"
    return host.run(ask, name, name).stdout == "hello https\n"


def asked(host):
    """How often somebody asked the authority for an order."""
    return int(host.run("grep -c 'POST /order-plz' /run/front/asked").stdout or 0)


def words(run):
    return " ".join(run.output.split())


def due(host, site):
    """Has certbot think that the certificate ends soon; it forgets that with the renewal."""
    path = f"/var/lib/webstack-acme/renewal/{site}.conf"
    host.check_output(f"sed -i -e '/^renew_before_expiry/d' -e '1i renew_before_expiry = 3650 days' {path}")
