"""Events and who attends them."""

from __future__ import annotations

from typing import Any

from django.db import models


class Event(models.Model):
    name = models.CharField(max_length=100)
    processed = models.BooleanField(default=False)
    statistics: Any = models.JSONField(default=dict)

    def __str__(self) -> str:
        return str(self.name)


class Attendee(models.Model):
    event = models.ForeignKey(Event, models.CASCADE, related_name="attendees")
    name = models.CharField(max_length=100)
    email = models.EmailField()

    def __str__(self) -> str:
        return str(self.name)
