"""What record() writes, for both databases. The latest is the newest by `observed_at`, whatever arrives in whatever order."""

from core.tasks.bulk import BulkStatement

INSERT_OBSERVATIONS = BulkStatement(
    (("attribute_id", "bigint"), ("observed_at", "timestamptz"), ("number", "float8"), ("text", "text")),
    """INSERT INTO core_observation (attribute_id, observed_at, number, text)
    SELECT v.attribute_id, v.observed_at, v.number, v.text FROM {rows} WHERE true
    ON CONFLICT (attribute_id, observed_at) DO NOTHING""",
)

UPDATE_LATEST = BulkStatement(
    (
        ("pk", "bigint"),
        ("asked_at", "timestamptz"),
        ("observed_at", "timestamptz"),
        ("number", "float8"),
        ("text", "text"),
        ("cause", "text"),
    ),
    """UPDATE core_attribute SET available = true,
    heard_at = {greatest}(coalesce(core_attribute.heard_at, v.asked_at), v.asked_at),
    observed_at = {greatest}(coalesce(core_attribute.observed_at, v.observed_at), v.observed_at),
    number = CASE WHEN core_attribute.observed_at >= v.observed_at THEN core_attribute.number ELSE v.number END,
    text = CASE WHEN core_attribute.observed_at >= v.observed_at THEN core_attribute.text ELSE v.text END,
    cause = CASE WHEN core_attribute.observed_at >= v.observed_at THEN core_attribute.cause ELSE v.cause END,
    changed_at = CASE WHEN core_attribute.observed_at >= v.observed_at
        OR core_attribute.number = v.number OR core_attribute.text = v.text
        THEN coalesce(core_attribute.changed_at, v.observed_at) ELSE v.observed_at END
    FROM {rows} WHERE core_attribute.id = v.pk""",
)

UPDATE_DEVICES = BulkStatement(
    (("pk", "bigint"), ("heard_at", "timestamptz"), ("measured_at", "timestamptz"), ("available", "boolean")),
    """UPDATE core_device SET available = v.available,
    heard_at = {greatest}(coalesce(core_device.heard_at, v.heard_at), coalesce(v.heard_at, core_device.heard_at)),
    measured_at = {greatest}(coalesce(core_device.measured_at, v.measured_at), coalesce(v.measured_at, core_device.measured_at))
    FROM {rows} WHERE core_device.id = v.pk""",
)

UPDATE_GATEWAYS = BulkStatement(
    (
        ("pk", "bigint"),
        ("asked_at", "timestamptz"),
        ("answered_at", "timestamptz"),
        ("failures", "integer"),
        ("error", "text"),
        ("refused", "boolean"),
        ("retry_at", "timestamptz"),
    ),
    """UPDATE core_gateway SET asked_at = v.asked_at, answered_at = coalesce(v.answered_at, core_gateway.answered_at),
    failures = v.failures, error = v.error, refused = v.refused, retry_at = v.retry_at, claimed_until = NULL
    FROM {rows} WHERE core_gateway.id = v.pk""",
)
