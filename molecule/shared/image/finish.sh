# What turns a minimal Debian into the test bed's "fresh VPS"; run as root inside the image
# (by tools/bed_images.py). Nothing that a role should have to install belongs here.

# Images from a registry forbid services to start and change apt; a server does not.
rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-* /etc/dpkg/dpkg.cfg.d/docker-*

# The way in: a user who is not root, with sudo. The key comes when a container is made.
useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/deploy
chmod 0440 /etc/sudoers.d/deploy

# User namespaces cannot be nested here, so units with PrivateUsers=yes (redis-server) would
# end with 217/USER. On a server this line does not exist and the setting works.
mkdir -p /etc/systemd/system/service.d
printf '[Service]\nPrivateUsers=no\n' >/etc/systemd/system/service.d/test-bed.conf

systemctl mask --quiet getty.target console-getty.service

# uv carries certificate authorities of its own; companies (and the bed) have theirs in the system's store.
mkdir -p /etc/uv
echo 'native-tls = true' >/etc/uv/uv.toml

apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt/*
: >/etc/machine-id
