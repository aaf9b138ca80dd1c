"""Models of the test application."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models


class Unhidden(models.Manager):  # type: ignore[misc]
    def get_queryset(self) -> Any:
        return super().get_queryset().exclude(status="hidden")


class Order(models.Model):  # type: ignore[misc] # noqa: DJ008 - nobody reads it
    status = models.CharField(max_length=20, default="new")

    objects = Unhidden()


class Parcel(models.Model):  # type: ignore[misc] # noqa: DJ008 - nobody reads it
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


class Line(models.Model):  # type: ignore[misc] # noqa: DJ008 - nobody reads it
    pk = models.CompositePrimaryKey("order_id", "number")
    order_id = models.IntegerField()
    number = models.IntegerField()
