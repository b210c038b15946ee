# Celery

CELERY_BROKER_URL = "redis://localhost:6379/0"
# A task that its worker took to the grave is given to another one after 10 seconds, looked for every 2.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 10,
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BEAT_SCHEDULE = {"tick": {"task": "jobs.tasks.tick", "schedule": 2.0}}
