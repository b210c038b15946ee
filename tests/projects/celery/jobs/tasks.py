import time

from celery import shared_task

from .models import Done, Tick


@shared_task(acks_late=True)
def work(name, seconds):
    """What is not finished when its worker dies is done again."""
    time.sleep(seconds)
    Done.objects.create(name=name)


@shared_task
def tick():
    Tick.objects.create()
