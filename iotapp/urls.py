"""Every address of the site."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import include, path

from core.api import problems
from core.views import (
    alerts,
    costs,
    devices,
    feeds,
    gateways,
    health,
    holds,
    log_in,
    metrics,
    people,
    relay,
    rules,
    runs,
    site,
    status,
    tokens,
)

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
    path("gateways/<int:pk>/secret/", gateways.renew_secret, name="gateway_secret"),
    path("gateways/<int:pk>/remove/", gateways.remove, name="gateway_remove"),
    path("alerts/", alerts.alert_list, name="alerts"),
    path("alerts/<int:pk>/acknowledge/", alerts.acknowledge, name="alert_acknowledge"),
    path("runs/", runs.run_list, name="runs"),
    path("forecasts/", feeds.feed_list, name="feeds"),
    path("costs/", costs.cost_list, name="costs"),
    path("costs/costs.csv", costs.cost_file, name="cost_file"),
    path("home/", site.site, name="site"),
    path("relay/", relay.subscribe, name="relay"),
    path("tokens/", tokens.token_list, name="tokens"),
    path("tokens/issue/", tokens.issue, name="token_issue"),
    path("tokens/revoke/", tokens.revoke_all, name="tokens_revoke"),
    path("tokens/<int:pk>/rotate/", tokens.rotate, name="token_rotate"),
    path("tokens/<int:pk>/usage/", tokens.used, name="token_usage"),
    path("tokens/<int:pk>/revoke/", tokens.revoke, name="token_revoke"),
    path("people/", people.people, name="people"),
    path("people/invite/", people.invite, name="invite"),
    path("people/<int:pk>/", people.change, name="person"),
    path("link/", log_in.link, name="link"),
    path("login/link/", log_in.ask_for_link, name="ask_for_link"),
    path("password/", log_in.SetPassword.as_view(), name="set_password"),
    path("login/", log_in.LogIn.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("api/", include("core.api.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("admin/login/", log_in.admin_log_in),
    path("admin/", admin.site.urls),
]

handler400 = problems.or_page(400)
handler403 = problems.or_page(403)
handler404 = problems.or_page(404)
handler500 = problems.server_error
