"""What `manage.py doctor` looks at, a file for each subject. `examine.py` is the task."""
