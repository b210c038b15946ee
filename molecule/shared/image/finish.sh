#!/bin/sh
# What turns a minimal Debian into the test bed's "fresh VPS"; run as root inside the image
# (by tools/bed_images.py). Nothing that a role should have to install belongs here.

# Images from a registry forbid services to start and change apt; a server does not.
rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-* /etc/dpkg/dpkg.cfg.d/docker-*

# The way in: a user who is not root, with sudo. The key comes when a container is made.
useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/deploy
chmod 0440 /etc/sudoers.d/deploy

# What a server has and a container has not; the roles must not know of it.
# - User namespaces cannot be nested: units with PrivateUsers=yes (redis-server) would end with 217/USER.
# - systemd-timesyncd is skipped in containers. Here it runs, without the right to set the clock.
mkdir -p /etc/systemd/system/service.d /etc/systemd/system/systemd-timesyncd.service.d
printf '[Service]\nPrivateUsers=no\n' >/etc/systemd/system/service.d/test-bed.conf
cat >/etc/systemd/system/systemd-timesyncd.service.d/test-bed.conf <<'END'
# webstack.django: keep
[Unit]
ConditionCapability=
ConditionVirtualization=
[Service]
AmbientCapabilities=
CapabilityBoundingSet=
END
# - Docker mounts these files, so that nothing can replace them: make them files again.
# - /proc/sys is read-only: the network's part belongs to the container, so give it back.
cat >/etc/systemd/system/test-bed.service <<'END'
[Unit]
Description=Make a container more like a server
DefaultDependencies=no
Before=sysinit.target systemd-sysctl.service
[Service]
Type=oneshot
ExecStart=/usr/local/lib/test-bed
[Install]
WantedBy=sysinit.target
END
cat >/usr/local/lib/test-bed <<'END'
#!/bin/sh
for file in /etc/hostname /etc/hosts /etc/resolv.conf; do
  content=$(cat "$file")
  umount "$file" 2>/dev/null || continue
  # After a restart a name that was given on the machine stays.
  if [ ! -s "$file" ] || [ "$file" = /etc/resolv.conf ]; then echo "$content" >"$file"; fi
  chmod 0644 "$file"
done
hostname -F /etc/hostname
mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net
exit 0
END
chmod 0755 /usr/local/lib/test-bed
systemctl enable --quiet test-bed.service
systemctl mask --quiet getty.target console-getty.service

# uv carries certificate authorities of its own; companies (and the bed) have theirs in the system's store.
mkdir -p /etc/uv
echo 'system-certs = true' >/etc/uv/uv.toml

# The package cache answers for the mirrors' names; a mirror's SRV records would lead past it.
echo 'Acquire::EnableSrvRecords "false";' >/etc/apt/apt.conf.d/90test-bed

apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt/*
: >/etc/machine-id
