# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Static files with a hash in their names, for projects whose stylesheets were never checked for it."""

import sys

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class TolerantManifestStorage(ManifestStaticFilesStorage):
    """A reference to a file that is not there stays as it is, where Django would refuse all files."""

    manifest_strict = False

    def hashed_name(self, name, content=None, filename=None):
        try:
            return super().hashed_name(name, content, filename)
        except ValueError:
            return name

    def post_process(self, *args, **kwargs):
        for name, hashed, processed in super().post_process(*args, **kwargs):
            if isinstance(processed, Exception):
                print(f"webstack: {name} is kept as it is: {processed}", file=sys.stderr)
                continue
            yield name, hashed, processed
