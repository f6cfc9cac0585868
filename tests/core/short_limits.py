"""The Celery application with limits of time from the environment: minutes are long for a test."""

import os

from iotapp.celery import app

app.conf.update(
    task_soft_time_limit=float(os.environ["TEST_SOFT_LIMIT"]) or None,
    task_time_limit=float(os.environ["TEST_LIMIT"]),
)
