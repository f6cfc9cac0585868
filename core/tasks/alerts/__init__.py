"""Alerts: what is wrong, the ledger of it, and the messages about it. core/tasks/send_alerts.py is
the task."""
