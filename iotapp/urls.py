"""Every address of the site."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import path

from core.views import devices, gateways, health, holds, log_in, rules, site, status

admin.autodiscover()
admin.site.site_title = "iotapp"
admin.site.site_header = f"iotapp (times: {settings.TIME_ZONE})"

urlpatterns = [
    path("", status.status, name="status"),
    path("devices/<int:pk>/", devices.device, name="device"),
    path("devices/<int:pk>/change/", devices.change, name="device_change"),
    path("devices/<int:pk>/rule/", rules.rule, name="device_rule"),
    path("devices/<int:pk>/hold/", holds.hold, name="device_hold"),
    path("devices/<int:pk>/release/", holds.release, name="device_release"),
    path("devices/<int:pk>/ask/", devices.ask, name="device_ask"),
    path("devices/<int:pk>/remove/", devices.remove, name="device_remove"),
    path("attributes/<int:pk>/order/", devices.order, name="order"),
    path("gateways/", gateways.gateway_list, name="gateways"),
    path("gateways/add/", gateways.add, name="gateway_add"),
    path("gateways/<int:pk>/", gateways.change, name="gateway"),
    path("gateways/<int:pk>/discover/", gateways.discover, name="gateway_discover"),
    path("gateways/<int:pk>/remove/", gateways.remove, name="gateway_remove"),
    path("home/", site.site, name="site"),
    path("login/", log_in.LogIn.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("healthz", health.healthz, name="healthz"),
    path("admin/login/", log_in.admin_log_in),
    path("admin/", admin.site.urls),
]
