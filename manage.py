#!/usr/bin/env python
"""The command line of the project: `python manage.py help core` lists what it can do."""

import gc
import os
import sys


def main() -> None:
    # Nearly all that start-up makes is kept. Looking through it for garbage every 700 objects takes
    # a tenth of the time of a command that has nothing to do.
    gc.set_threshold(150_000)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        sys.exit(f"{error}. Run it as .venv/bin/python manage.py (make demo creates .venv).")
    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads us, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ImproperlyConfigured as error:
        sys.exit(f"Settings: {error}")
    finally:
        # Python looks through everything once more when it ends. The memory goes back all the same,
        # and a command that has nothing to do takes a fifth less time.
        gc.freeze()


if __name__ == "__main__":
    main()
