from django.db import models


class Done(models.Model):
    name = models.CharField(max_length=100)
    at = models.DateTimeField(auto_now_add=True)


class Tick(models.Model):
    at = models.DateTimeField(auto_now_add=True)
