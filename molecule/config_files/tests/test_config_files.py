"""A transaction on real machines: it holds as a whole or not at all, whatever happens in its middle."""

from __future__ import annotations

import base64
import json
import re
import time

import pytest

STATE = "/var/lib/webstack/config_files"
# Everything about everything below some directories but the times of access; ctime only where nothing may be touched.
PHOTOGRAPH = """
import hashlib, json, os, stat, sys
seen = {}
def look(path):
    info = os.lstat(path)
    kind, content = stat.S_IFMT(info.st_mode), None
    if stat.S_ISREG(kind):
        content = hashlib.sha256(open(path, "rb").read()).hexdigest()
    elif stat.S_ISLNK(kind):
        content = os.readlink(path)
    attributes = {name: os.getxattr(path, name, follow_symlinks=False).hex()
                  for name in os.listxattr(path, follow_symlinks=False)}
    seen[path] = [info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, content, attributes]
    if sys.argv[1] == "touched":
        seen[path] += [info.st_ctime_ns, info.st_ino]
    if stat.S_ISDIR(kind):
        for name in sorted(os.listdir(path)):
            look(os.path.join(path, name))
for path in sys.argv[2:]:
    look(path)
print(json.dumps(seen))
"""
# Kills the run that holds the lock as soon as `dir` has so many names that contain `mark`.
KILLER = """
import os, signal, sys, time
state, directory, mark, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def holder():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") == state + "/lock" for fd in os.listdir(f"/proc/{pid}/fd")):
                return int(pid)
        except OSError:
            pass
end = time.monotonic() + 60
pid = None
while pid is None and time.monotonic() < end:
    pid = holder()
while sum(mark in name for name in os.listdir(directory)) < number and time.monotonic() < end:
    pass
os.kill(pid, signal.SIGKILL)
"""
# Runs as the application's user: its directory is by turns itself and a link to somebody else's.
SWAPPER = """
import ctypes, os, time
libc, end = ctypes.CDLL(None), time.monotonic() + 120
while time.monotonic() < end and not os.path.exists("/tmp/swapped-enough"):
    libc.renameat2(-100, b"/srv/app/conf", -100, b"/srv/app/link", 2)
"""
ACL = "0200000001000600ffffffff02000600010000000400040" + "0ffffffff10000600ffffffff20000400ffffffff"


def photograph(host, *paths, touched=False):
    done = host.run("python3 -c %s %s " + " ".join(paths), PHOTOGRAPH, "touched" if touched else "kept")
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def file(path, content="new\n", **more):
    return {"path": path, "content": content, **more}


def only(files, checks=(), prune=(), **more):
    return {"scenario_files": files, "scenario_checks": list(checks), "scenario_prune": list(prune), **more}


def shell(script, **more):
    return {"argv": ["sh", "-c", script], **more}


def told(run):
    """What the play rounds.yml says of each round: seconds, changed, msg."""
    return [json.loads(base64.b64decode(text)) for text in re.findall(r"ROUND:([A-Za-z0-9+/=]+)", run.output)]


def what_was_said(run):
    """Without the time stamps and colours of the callback."""
    return re.sub(r"(?m)^(PLAY RECAP.*|\S+ +: ok=.*)$", "", run.output)


@pytest.fixture(autouse=True)
def nothing_is_left(host):
    """No journal, no staged or kept file, no checker."""
    yield
    assert host.check_output(f"ls -A {STATE}") == "lock"
    assert host.check_output("find / -xdev -name '.*.webstack-*'") == ""
    assert host.run("pgrep -fx 'sleep 600'").stdout == ""


@pytest.fixture
def old(host):
    """A directory with everything in it that can be changed, and a file whose change cannot be rehearsed (in /)."""
    script = f"""
        rm -rf /etc/trial /trial && mkdir -p -m 0750 /etc/trial/sub /etc/trial/empty && cd /etc/trial &&
        for n in content mode owner gone stray; do echo $n > $n.conf; done && echo / > /trial &&
        chmod 0604 mode.conf && chown app:adm owner.conf sub && chmod 4755 gone.conf && ln -s content.conf link &&
        echo deep > sub/deep.conf && chmod 0400 sub/deep.conf && echo file > kind &&
        python3 -c 'import os; os.setxattr("content.conf", "user.note", b"kept")' &&
        python3 -c 'import os; os.setxattr("content.conf", "system.posix_acl_access", bytes.fromhex("{ACL}"))' &&
        find /etc/trial /trial -depth -exec touch -h -d 2020-02-02 {{}} +
    """
    done = host.run(script)
    assert done.rc == 0, done.stderr
    yield photograph(host, "/etc/trial", "/trial")
    host.check_output("rm -rf /etc/trial /trial")


NEW = [
    file("/etc/trial/content.conf"),
    file("/etc/trial/mode.conf", "mode\n", mode="0640"),
    file("/etc/trial/owner.conf", "owner\n"),
    {"path": "/etc/trial/gone.conf", "state": "absent"},
    {"path": "/etc/trial/link", "state": "link", "target": "mode.conf"},
    {"path": "/etc/trial/sub", "state": "directory", "mode": "0711"},
    file("/etc/trial/sub/deep.conf", owner="app", mode="0400"),
    {"path": "/etc/trial/made", "state": "directory", "group": "app"},
    file("/etc/trial/made/inside.conf"),
    {"path": "/etc/trial/kind", "state": "directory"},
    {"path": "/etc/trial/empty", "state": "absent"},
]
PRUNE = [{"path": "/etc/trial", "patterns": ["*.conf"]}]


def test_what_is_declared_is_there(host):
    assert host.check_output("stat -c '%a %U:%G' /etc/app.d /etc/app.d/a.conf /etc/app.d/b.conf") == (
        "750 root:app\n640 root:app\n600 app:root"
    )
    assert host.check_output("cat /etc/app.d/current") == "a = 1"
    assert "/etc/sudoers.d/operators: parsed OK" in host.check_output("visudo -c")
    assert "maxauthtries 4" in host.check_output("/usr/sbin/sshd -T")


def test_what_was_changed_by_hand_is_found_and_put_back(host, playbook):
    before = {path: seen[:3] + seen[4:] for path, seen in photograph(host, "/etc/app.d").items()}
    host.check_output(
        "cd /etc/app.d && echo 'a = 2' > a.conf && chmod 666 b.conf && chown app . && ln -sfn b.conf current && "
        "echo x > stray.conf && ln -s /etc/passwd stray-link.conf && mkdir dir.conf"
    )
    host.check_output(
        "python3 -c %s",
        f"import os; os.setxattr('/etc/app.d/b.conf', 'system.posix_acl_access', bytes.fromhex('{ACL}'))",
    )
    predicted = playbook(None, "-v", check=True)
    assert host.file("/etc/app.d/a.conf").content_string == "a = 2\n"
    done = playbook(None, "-v")
    assert (predicted.rc, done.rc, predicted.changed, done.changed) == (0, 0, 1, 1), done.output
    assert what_was_said(predicted) == what_was_said(done)
    for words in (
        "-a = 2\n+a = 1",
        "-link to b.conf\n+link to a.conf",
        "-mode 0664\n-access control list\n+mode 0600",
        "stray.conf",
    ):
        assert words in done.output, done.output
    assert host.file("/etc/app.d/dir.conf").is_directory  # only files are pruned
    host.check_output("rmdir /etc/app.d/dir.conf")
    assert {path: seen[:3] + seen[4:] for path, seen in photograph(host, "/etc/app.d").items()} == before
    assert playbook().changed == 0


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("/etc/sudoers.d/operators", "%operators ALL=(ALL) ALL ALL\n", "/etc/sudoers.d/operators:1"),
        ("/etc/ssh/sshd_config.d/50-scenario.conf", "MaxAuthTriez 4\n", "Bad configuration option: MaxAuthTriez"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_what_a_daemon_refuses_never_gets_near_it(host, playbook, variables, path, content, words, check):
    """Not for a moment: not even the times of the inodes change. Check mode says the same."""
    before = photograph(host, "/etc/ssh", "/etc/sudoers.d", "/etc/app.d", touched=True)
    files = [one for one in variables["scenario_files"] if one["path"] != path]
    files += [file(path, content, mode="0440"), file("/etc/app.d/a.conf.d", "other\n")]
    run = playbook({"scenario_files": files}, check=check)
    assert run.rc == 2, run.output
    assert words in run.output, run.output
    assert "so the old configuration stays in place" in run.output
    assert photograph(host, "/etc/ssh", "/etc/sudoers.d", "/etc/app.d", touched=True) == before
    assert "maxauthtries 4" in host.check_output("/usr/sbin/sshd -T")


@pytest.mark.parametrize("live", [False, True])
def test_a_roll_back_leaves_everything_as_it_was(host, playbook, old, live):
    """Where the change cannot be rehearsed (in the root directory), it is made, checked and put back."""
    files = [*NEW, *([file("/trial")] if live else [])]
    check = shell("grep -q new /etc/trial/content.conf && ! [ -e /etc/trial/stray.conf ] && echo seen; exit 3")
    run = playbook(only(files, [check], PRUNE))
    assert run.rc == 2
    assert "exit status 3" in run.output
    assert "seen" in run.output
    assert photograph(host, "/etc/trial", "/trial") == old
    predicted, done = playbook(only(files, [], PRUNE), "-v", check=True), playbook(only(files, [], PRUNE), "-v")
    assert (predicted.rc, done.rc) == (0, 0), done.output
    assert what_was_said(predicted) == what_was_said(done)
    assert photograph(host, "/etc/trial", "/trial") != old
    assert host.check_output("stat -c '%a %U %G' /etc/trial/sub/deep.conf") == "400 app root"
    assert not host.file("/etc/trial/stray.conf").exists
    assert playbook(only(files, [], PRUNE)).changed == 0


@pytest.mark.parametrize("live", [False, True])
def test_a_checker_that_hangs_is_stopped(host, playbook, old, live):
    files = [*NEW, *([file("/trial")] if live else [])]
    began = time.monotonic()
    run = playbook(only(files, [shell("trap '' TERM; echo waiting; sleep 600 & wait; wait", timeout=2)], PRUNE))
    assert time.monotonic() - began < 100
    assert run.rc == 2
    assert "did not end within 2 seconds and was stopped" in run.output
    assert "waiting" in run.output
    assert photograph(host, "/etc/trial", "/trial") == old


def test_a_disk_that_fills_up_in_the_middle(host, playbook, old):
    host.check_output("mkdir /trial-disk && mount -t tmpfs -o size=256k none /trial-disk")
    try:
        host.check_output("cd /trial-disk; for n in a b c; do echo old > $n; chmod 0640 $n; chown app $n; done")
        before = photograph(host, "/trial-disk")
        big = [file(f"/trial-disk/{name}", "{{ 'x' * 100000 }}") for name in "abc"]
        run = playbook(only([*NEW, *big], [shell("exit 0")], PRUNE))
        assert run.rc == 2
        assert "/trial-disk/c: No space left on device; free some space" in run.output, run.output
        assert photograph(host, "/trial-disk") == before
        assert photograph(host, "/etc/trial", "/trial") == old
    finally:
        host.check_output("umount /trial-disk && rmdir /trial-disk")


@pytest.mark.parametrize(("mark", "number"), [(".webstack-new-", 50), (".webstack-old-", 50)])
def test_a_run_killed_in_the_middle_is_healed_by_the_next(host, playbook, old, mark, number):
    """Once while content is staged, once while it is put in place."""
    host.check_output("cd /etc/trial; for n in $(seq 200); do echo old > many$n; done")
    before = photograph(host, "/etc/trial")
    many = [file(f"/etc/trial/many{n}") for n in range(1, 201)]
    for _attempt in range(5):
        host.check_output(
            "systemd-run -q --unit=killer python3 -c %s %s /etc/trial %s %s", KILLER, STATE, mark, str(number)
        )
        run = playbook(only(many, [shell("sleep 1")]))
        host.run("systemctl stop killer; systemctl reset-failed killer")
        replaced = int(host.run("grep -lx new /etc/trial/many* | wc -l").stdout)
        if run.rc and (replaced > 0) == ("old" in mark):
            break
        assert playbook(only([file(f"/etc/trial/many{n}", "old\n") for n in range(1, 201)])).rc == 0
        before = photograph(host, "/etc/trial")
    assert run.rc != 0
    assert replaced < 200
    assert host.check_output(f"ls {STATE}").count("undo-") == 1
    predicted, healed = playbook(only([]), check=True), playbook(only([]))
    assert (predicted.rc, healed.rc, predicted.changed, healed.changed) == (0, 0, 1, 1), healed.output
    assert photograph(host, "/etc/trial") == before
    assert playbook(only([])).changed == 0


@pytest.mark.parametrize(
    ("how", "no_log"),
    [("done", False), ("done", True), ("refused", False), ("refused", True), ("refused live", False)],
)
def test_no_secret_is_shown(host, playbook, how, no_log):
    host.check_output("install -m 0600 /dev/null /etc/secret.conf && echo 'password = 0ld-hunter-1' > /etc/secret.conf")
    files = [file("/etc/secret.conf", "password = n3w-hunter-2\n", mode="0600", diff=no_log)]
    checks = [shell("cat /etc/secret.conf; exit 1")] if "refused" in how else []
    if "live" in how:
        files.append(file("/trial"))
    inventory = only(files, checks, scenario_no_log=no_log)
    runs = [playbook(inventory, "-vvv", check=check) for check in (True, False)]
    for run in runs:
        assert "hunter" not in run.output
    assert [run.rc for run in runs] == ([2, 2] if how == "refused" else [0, 2] if checks else [0, 0])
    assert ("hunter-2" in host.file("/etc/secret.conf").content_string) is not bool(checks)
    assert "hunter" not in host.check_output("journalctl -b -o cat | grep -v 'COMMAND=' | tail -n 2000")
    host.check_output("rm -f /etc/secret.conf /trial")


def test_links_of_a_user_are_refused(host, playbook):
    """In its own directory a user can put a link to anywhere; nothing is read, written or removed behind it."""
    host.check_output("mkdir -p /etc/victim && echo theirs > /etc/victim/site.conf && chmod 0600 /etc/victim/site.conf")
    before = photograph(host, "/etc/victim", touched=True)
    host.check_output(
        "runuser -u app -- sh -c 'mkdir -p /srv/app/real && ln -sfn /etc/victim /srv/app/conf && "
        "ln -sfn /etc/victim/site.conf /srv/app/real/site.conf'"
    )
    rounds = [
        {"files": [file("/srv/app/conf/site.conf")]},
        {"files": [{"path": "/srv/app/conf/site.conf", "state": "absent"}]},
        {"files": [{"path": "/srv/app/conf", "state": "directory", "owner": "app", "mode": "0777"}]},
        {"files": [file("/srv/app/real/site.conf")]},
        {"files": [], "prune": [{"path": "/srv/app/conf/."}]},
        {"files": [], "prune": [{"path": "/srv/app/conf/sub"}]},
    ]
    for check in (True, False):
        run = playbook({"scenario_rounds": rounds}, path="rounds.yml", check=check)
        assert photograph(host, "/etc/victim", touched=True) == before
        assert "theirs" not in run.output
        said = told(run)
        assert [one["changed"] for one in said] == [False] * 6
        for one, words in zip(said, ["is a symbolic link below"] * 2 + [" link to "] * 2 + ["", "is a symbolic link"]):
            assert words in one["msg"], said
        assert said[4]["msg"] == ""  # a link is not an owned directory: nothing is removed behind it
    host.check_output("rm -rf /srv/app/real /srv/app/conf /etc/victim")


def test_a_directory_swapped_for_a_link_during_the_run(host, playbook):
    host.check_output("mkdir -p /etc/victim && echo theirs > /etc/victim/site.conf && touch /etc/victim/other.conf")
    before = photograph(host, "/etc/victim", touched=True)
    host.check_output("runuser -u app -- sh -c 'mkdir -p /srv/app/conf && ln -sfn /etc/victim /srv/app/link'")
    host.check_output("systemd-run -q --unit=swapper -p User=app python3 -c %s", SWAPPER)
    rounds = [
        {
            "files": [file("/srv/app/conf/site.conf", f"{number}\n"), file("/srv/app/conf/more.conf", f"{number}\n")],
            "prune": [{"path": "/srv/app/conf", "patterns": ["*.conf"]}],
        }
        for number in range(12)
    ]
    run = playbook({"scenario_rounds": rounds}, path="rounds.yml")
    host.check_output("touch /tmp/swapped-enough; systemctl stop swapper; rm /tmp/swapped-enough")
    said = told(run)
    assert photograph(host, "/etc/victim", touched=True) == before
    assert len(said) == 12, run.output
    assert any("link" in one["msg"] for one in said), said
    assert all(one["changed"] or one["msg"] for one in said), said
    # When the user has stopped, the next run leaves nothing of this behind.
    host.check_output("runuser -u app -- sh -c 'rm -f /srv/app/link; [ -d /srv/app/conf ] && ! [ -L /srv/app/conf ] || "
                      "{ rm /srv/app/conf; mkdir /srv/app/conf; }'")  # fmt: skip
    playbook(only([]))
    host.check_output("rm -rf /srv/app/conf /srv/app/link /etc/victim")


def test_200_files_take_about_as_long_as_one(host, playbook):
    """Over SSH, written and checked: as many round trips, and not twice the time."""
    rounds = [
        {"files": [file(f"/etc/many/{n}.conf", f"{turn} {n}\n") for n in range(count)]}
        for turn in range(4)
        for count in (1, 200)
    ]
    rounds.insert(0, {"files": [{"path": "/etc/many", "state": "directory"}]})
    run = playbook({"scenario_rounds": rounds}, "-vvv", path="rounds.yml")
    said = told(run)[1:]
    assert [one["msg"] for one in said] == [""] * 8, run.output
    one, many = (min(one["seconds"] for one in said[first::2]) for first in (0, 1))
    print(f"one file {one:.2f} s, 200 files {many:.2f} s")
    assert many < 3 * one, (one, many)
    assert run.output.count("SSH: EXEC") == 9, run.output
    host.check_output("rm -r /etc/many")
