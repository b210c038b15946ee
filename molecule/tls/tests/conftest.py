"""One more way of running the role."""

from __future__ import annotations

import pytest


@pytest.fixture
def certificates(playbook):
    """certificates() -> Run: the module alone."""

    def run(given=None, *arguments, check=False, **more):
        variables = {**({"tls_certificates": given} if given else {}), **more}
        return playbook(variables, *arguments, check=check, path="certificates.yml")

    return run
