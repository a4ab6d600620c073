"""Grafana over a rehearsal's Prometheus: whoever reaches it may look, nobody logs in, and it tells nobody of itself.

No package registry carries it: its image is pulled where a registry answers, and is missing elsewhere.
"""

from __future__ import annotations

from harness.components.component import Component, Limits, Ready, Restart, tag_of
from harness.dashboards.provisioning import files

IMAGE = "docker.io/grafana/grafana:12.2.0"


def grafana(prometheus: str, *, image: str = IMAGE) -> Component:
    """The recipe of its container: port "http", with the dashboards of harness.dashboards.

    `prometheus` is its data source's URL, as it sees it; "": none.
    """
    return Component(
        name="grafana",
        version=tag_of(image),
        argv=(),
        env={
            "GF_SERVER_HTTP_ADDR": "{host}",
            "GF_SERVER_HTTP_PORT": "{port[http]}",
            "GF_PATHS_DATA": "{folder}/data",
            "GF_PATHS_LOGS": "{folder}/log",
            "GF_PATHS_PLUGINS": "{folder}/plugins",
            "GF_PATHS_PROVISIONING": "{folder}/provisioning",
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_DISABLE_LOGIN_FORM": "true",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        },
        image=image,
        inside={"http": 3000},
        limits=Limits(memory_mib=512),
        ready=Ready(port="http", path="/api/health"),
        files={
            f"provisioning/{name}": text for name, text in files(prometheus, folder="{folder}/provisioning").items()
        },
        restart=Restart(at_most=3),
    )
