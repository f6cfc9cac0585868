# One image for every process: compose.yaml and the Procfile have their commands.
FROM python:3.13-slim-bookworm AS build
WORKDIR /app
# Before the code, so that a change of code installs nothing anew.
COPY requirements.txt requirements-redis.txt requirements-celery.txt requirements-listen.txt \
    requirements-sentry.txt ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir -r requirements-celery.txt -r requirements-listen.txt \
    -r requirements-sentry.txt
COPY . .
# Needs a key to start, and keeps nothing of it.
RUN SECRET_KEY=only-for-collecting-the-static-files-of-the-image \
    /venv/bin/python manage.py collectstatic --noinput \
    && /venv/bin/python -m compileall -q core iotapp

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home iotapp
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PORT=8000
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["python", "deploy/alive.py"]
CMD ["gunicorn", "iotapp.asgi"]
