from django.contrib.admin.apps import SimpleAdminConfig


class AdminConfig(SimpleAdminConfig):
    """Without looking for admin modules: a scheduled command needs none. urls.py looks."""

    default_site = "core.views.admin.OurSite"
