#!/bin/sh
# What people type on a server to bring a new commit to it, as root; benchmarks/deploy.py takes its time.
set -eu
site=$1
cd "/srv/$site-by-hand"
set -a
. "/etc/webstack/$site/env"
. ./env
set +a
as() { setpriv --reuid="$site" --regid="$site" --init-groups -- "$@"; }
as git pull --quiet
as venv/bin/python manage.py collectstatic --noinput --verbosity=0
as venv/bin/python manage.py migrate --noinput --verbosity=0
systemctl restart "$site-web"
