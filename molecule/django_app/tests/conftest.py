"""How the tests bring a release of the blog to a machine."""

from __future__ import annotations

import pytest


@pytest.fixture
def deploy(playbook, variables):
    """deploy("two", "blog2"): bring an archive as a release of the blog."""

    def run(release, archive, check=False, retry=False, **more):
        source = {"kind": "path", "archive": "{{ archives }}/%s.tar.gz" % archive}
        site = {**variables["blog"], "release_id": release, "source": source, **more}
        return playbook({"django_app_sites": [site], "django_app_retry": retry}, check=check)

    return run
