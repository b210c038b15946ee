"""Writes pebble's configuration and starts it anew: pebble.py SECONDS_OF_A_CERTIFICATE PERCENT_OF_REFUSED_NONCES

It keeps nothing on disk: afterwards it knows no account, and signs with another root.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

seconds, nonces = int(sys.argv[1]), sys.argv[2]
config = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/opt/pebble/cert.pem",
    "privateKey": "/opt/pebble/key.pem",
    "httpPort": 80,
    "tlsPort": 443,
    "ocspResponderURL": "",
    "externalAccountBindingRequired": False,
    "certificateValidityPeriod": seconds,
    "profiles": {"default": {"description": "", "validityPeriod": seconds}},
    "retryAfter": {"authz": 1, "order": 1},
}
Path("/opt/pebble/config.json").write_text(json.dumps({"pebble": config}))
subprocess.run(["systemctl", "stop", "pebble"], capture_output=True, check=False)
subprocess.run(["systemctl", "reset-failed", "pebble"], capture_output=True, check=False)
environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": nonces, "PEBBLE_AUTHZREUSE": "0"}
subprocess.run(
    [
        *(
            "systemd-run",
            "--quiet",
            "--unit=pebble",
            *(f"--setenv={key}={value}" for key, value in environment.items()),
        ),
        *("pebble", "-config", "/opt/pebble/config.json", "-dnsserver", "127.0.0.1:8053"),
    ],
    check=True,
)
context = __import__("ssl")._create_unverified_context()
for _time in range(100):
    try:
        with urllib.request.urlopen("https://127.0.0.1:15000/roots/0", context=context) as reply:
            Path("/opt/pebble/root.pem").write_bytes(reply.read())
            break
    except OSError:
        __import__("time").sleep(0.1)
else:
    sys.exit("pebble does not start")
