#!/bin/sh
# What people type on a server to bring a new commit to it, as root; benchmarks/deploy.py takes its time.
set -eu
site=$1
cd "/srv/$site-by-hand"
set -a
. "/etc/webstack/$site/env"
. ./env
set +a
as() { HOME=$PWD setpriv --reuid="$site" --regid="$site" --init-groups -- "$@"; }
as git pull --quiet
as venv/bin/python manage.py collectstatic --noinput --verbosity=0
as venv/bin/python manage.py migrate --noinput --verbosity=0
if [ -e "/etc/systemd/system/$site-web.service" ]; then
  systemctl restart "$site-web"
else
  webstack-supervisord restart "$site-web"
fi
