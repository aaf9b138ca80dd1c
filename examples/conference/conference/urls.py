"""Where the views are."""

from __future__ import annotations

from django.urls import path

from conference import views

urlpatterns = [
    path("events", views.create_event),
    path("events/<int:event_id>/export", views.export),
    path("jobs/<str:job_id>", views.job),
]
