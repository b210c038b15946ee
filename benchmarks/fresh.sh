#!/bin/sh
# A fresh server by hand: the packages that a converge of the demo installs (arguments) in one go, uv, what the project needs,
# and then database, migrations, static files, units and nginx as in serve-defaults.sh beside it. It hardens nothing, tries
# nothing and cannot be run twice. As root; /srv/demo has the code. Measured by converge.py.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y install --no-install-recommends "$@" >/dev/null
python3 -m venv /opt/fresh/uv
/opt/fresh/uv/bin/pip install --quiet uv
cd /srv/demo
/opt/fresh/uv/bin/uv venv --quiet venv
/opt/fresh/uv/bin/uv pip install --quiet --compile-bytecode --python venv/bin/python -r requirements.txt gunicorn 'psycopg[binary]'
exec sh "$here/serve-defaults.sh"
