#!/bin/sh
# The same project as people set it up by hand with what Debian and the programs bring: nginx, gunicorn with as many processes
# as its documentation advises, PostgreSQL untuned, over TCP with a password. As root; /srv/demo has the code.
# Measured by serve.py, and by converge.py after fresh.sh.
set -eu
cd /srv/demo
if [ ! -d venv ]; then # fresh.sh has made it
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  apt-get -qq -y install --no-install-recommends nginx postgresql python3-venv openssl >/dev/null
  python3 -m venv venv
  venv/bin/pip install --quiet -r requirements.txt gunicorn 'psycopg[binary]'
fi
systemctl start postgresql
su postgres -c "psql -qc \"CREATE USER demo PASSWORD 'demo'\" -c 'CREATE DATABASE demo OWNER demo'"
cat >demo/settings/local.py <<END
from .base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.postgres"]
SECRET_KEY = "only-for-this-benchmark-which-nobody-reaches-from-outside"
ALLOWED_HOSTS = ["*"]
STATIC_ROOT = "/srv/demo/static"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "demo",
        "USER": "demo",
        "PASSWORD": "demo",
        "HOST": "localhost",
    }
}
END
export DJANGO_SETTINGS_MODULE=demo.settings.production
venv/bin/python manage.py migrate --noinput --verbosity=0
venv/bin/python manage.py collectstatic --noinput --verbosity=0
useradd --system demo
cat >/etc/systemd/system/demo.service <<END
[Service]
User=demo
Group=www-data
WorkingDirectory=/srv/demo
Environment=DJANGO_SETTINGS_MODULE=demo.settings.production
RuntimeDirectory=demo
ExecStart=/srv/demo/venv/bin/gunicorn --workers $(($(nproc) * 2 + 1)) --bind unix:/run/demo/web.sock demo.wsgi
END
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=demo.example.com \
  -keyout /etc/ssl/private/demo.pem -out /etc/ssl/certs/demo.pem 2>/dev/null
cat >/etc/nginx/sites-enabled/default <<'END'
server {
    listen 443 ssl;
    server_name demo.example.com;
    ssl_certificate /etc/ssl/certs/demo.pem;
    ssl_certificate_key /etc/ssl/private/demo.pem;
    location /static/ {
        root /srv/demo;
    }
    location / {
        include proxy_params;
        proxy_pass http://unix:/run/demo/web.sock;
    }
}
END
systemctl daemon-reload
systemctl restart demo nginx
