"""What a person sees in the browser. Views read through the models, act through core.tasks, and answer a POST by a redirect."""
