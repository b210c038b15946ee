#!/bin/sh
# What a converge of the demo installs, by hand and with nothing else: the packages (arguments), uv, and what the
# project needs (requirements.txt beside this script). Measured by converge.py as the bare minimum of a fresh server.
set -eu
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y install --no-install-recommends "$@"
python3 -m venv /opt/fresh/uv
/opt/fresh/uv/bin/pip install --quiet uv
/opt/fresh/uv/bin/uv venv --quiet /opt/fresh/venv
/opt/fresh/uv/bin/uv pip install --quiet --python /opt/fresh/venv/bin/python -r requirements.txt gunicorn psycopg redis
