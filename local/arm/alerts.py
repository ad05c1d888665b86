"""The alerts about scoring that Azure Monitor raises, in the common alert schema.

Rests on API.md F, and on ``alert_metric_commonschema_5xx.json`` and ``alert_logv2_commonschema_trafficlog.json``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from local.arm.metrics import REQUESTS
from local.arm.resources import Json, stamp

if TYPE_CHECKING:
    from local.arm.happenings import Alert
    from local.arm.models import World

TABLE = "AmlOnlineEndpointTrafficLog"


def common_alert(world: World, rule: Alert) -> Json | None:
    """The alert that a rule fires by the endpoint's answers; None if there are not more of them than its threshold."""
    endpoint = world.endpoint_target(rule.endpoint)
    dimensions = _dimensions(rule)
    rate = world.meters.rate(endpoint, dimensions, rule.minutes)
    counted = round(rate if rule.kind == "metric" else rate * rule.minutes, 3)
    if counted <= rule.threshold:
        return None
    now = world.now()
    window = {
        "windowStartTime": stamp(now - timedelta(minutes=rule.minutes)),
        "windowEndTime": stamp(now),
        "windowSize": f"PT{rule.minutes}M",
    }
    is_metric = rule.kind == "metric"
    alerts = f"/subscriptions/{endpoint.subscription}/providers/Microsoft.AlertsManagement/alerts"
    criterion = _metric_criterion(dimensions) if is_metric else _query_criterion(dimensions)
    criterion |= {"operator": "GreaterThan", "threshold": f"{rule.threshold:g}", "metricValue": counted}
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": f"{alerts}/{world.new_id()}",
                "alertRule": rule.rule,
                "severity": "Sev2",
                "signalType": "Metric" if is_metric else "Log",
                "monitorCondition": "Fired",
                "monitoringService": "Platform" if is_metric else "Log Alerts V2",
                "alertTargetIDs": [endpoint.id.lower()],
                "configurationItems": [endpoint.name],
                "originAlertId": world.new_id(),
                "firedDateTime": stamp(now),
                "description": "",
                "essentialsVersion": "1.0",
                "alertContextVersion": "1.0",
            },
            "alertContext": {
                "properties": None if is_metric else {},
                "conditionType": "SingleResourceMultipleMetricCriteria" if is_metric else "LogQueryCriteria",
                "condition": {"allOf": [criterion], **window},
            },
            "customProperties": None,
        },
    }


def _dimensions(rule: Alert) -> dict[str, str]:
    """What a rule splits by, in the names of the metric."""
    status = "statusCodeClass" if (rule.status or "").endswith("xx") else "statusCode"
    named = {"deployment": rule.deployment, status: rule.status, "modelStatusCode": rule.model_status}
    return {name: value for name, value in named.items() if value is not None}


def _metric_criterion(dimensions: dict[str, str]) -> Json:
    return {
        "metricName": REQUESTS,
        "metricNamespace": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
        "timeAggregation": "Average",
        "dimensions": [{"name": name, "value": value} for name, value in dimensions.items()],
    }


def _query_criterion(dimensions: dict[str, str]) -> Json:
    columns = {"deployment": "DeploymentName", "statusCode": "ResponseCode", "modelStatusCode": "ModelStatusCode"}
    named = [{"name": columns[name], "value": value} for name, value in dimensions.items() if name in columns]
    return {
        "searchQuery": f"{TABLE} | summarize n=count() by {', '.join(['EndpointName', *columns.values()])}",
        "metricMeasureColumn": "n",
        "targetResourceTypes": "['Microsoft.MachineLearningServices/workspaces/onlineEndpoints']",
        "timeAggregation": "Total",
        "dimensions": named,
        "failingPeriods": {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1},
    }
