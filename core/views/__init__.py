"""Pages for the browser. Views read through the models, act through core.tasks,
and answer a POST with a redirect."""
