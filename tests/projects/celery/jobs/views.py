from django.http import JsonResponse

from .models import Done, Tick
from .tasks import work


def queue(request):
    """/queue/?seconds=3&name=x"""
    name = request.GET.get("name", "work")
    work.delay(name, float(request.GET.get("seconds", "0")))
    return JsonResponse({"queued": name})


def done(request):
    return JsonResponse({"done": list(Done.objects.order_by("id").values_list("name", flat=True))})


def ticks(request):
    return JsonResponse({"ticks": Tick.objects.count()})
