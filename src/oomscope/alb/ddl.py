"""The CREATE TABLE statement for a bucket of ALB logs, for the user to run in Athena."""

from __future__ import annotations

import re

from oomscope.errors import UsageError

_WORD, _NUMBER, _QUOTED = "([^ ]*)", "([-.0-9]*)", '"([^"]*)"'
_ADDRESS = "([^ ]+?)(?::([0-9]+))?"  # the port is what follows the last colon, as IPv6 has no brackets here
_REQUEST = '"([^ "]*) ([^"]*) ([^ "]*) ?"'
# Column and type of each group of the pattern, in the order of the log's fields.
_FIELDS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (_WORD, (("type", "string"),)),
    (_WORD, (("time", "string"),)),
    (_WORD, (("elb", "string"),)),
    (_ADDRESS, (("client_ip", "string"), ("client_port", "int"))),
    (_ADDRESS, (("target_ip", "string"), ("target_port", "int"))),
    (_NUMBER, (("request_processing_time", "double"),)),
    (_NUMBER, (("target_processing_time", "double"),)),
    (_NUMBER, (("response_processing_time", "double"),)),
    (_NUMBER, (("elb_status_code", "int"),)),
    (_NUMBER, (("target_status_code", "string"),)),
    (_NUMBER, (("received_bytes", "bigint"),)),
    (_NUMBER, (("sent_bytes", "bigint"),)),
    (_REQUEST, (("request_verb", "string"), ("request_url", "string"), ("request_proto", "string"))),
    (_QUOTED, (("user_agent", "string"),)),
    (_WORD, (("ssl_cipher", "string"),)),
    (_WORD, (("ssl_protocol", "string"),)),
    (_WORD, (("target_group_arn", "string"),)),
    (_QUOTED, (("trace_id", "string"),)),
    (_QUOTED, (("domain_name", "string"),)),
    (_QUOTED, (("chosen_cert_arn", "string"),)),
    (_WORD, (("matched_rule_priority", "string"),)),
    (_WORD, (("request_creation_time", "string"),)),
    (_QUOTED, (("actions_executed", "string"),)),
    (_QUOTED, (("redirect_url", "string"),)),
    (_QUOTED, (("lambda_error_reason", "string"),)),
    (_QUOTED, (("target_port_list", "string"),)),
    (_QUOTED, (("target_status_code_list", "string"),)),
    (_QUOTED, (("classification", "string"),)),
    (_QUOTED, (("classification_reason", "string"),)),
)
# A pattern has to fit the whole line, so it must allow for the fields that were added later and those still to come.
_LATER = "(?: ([^ ]*))?(?: .*)?"
PATTERN = " ".join(pattern for pattern, _ in _FIELDS) + _LATER
COLUMNS = (*(column for _, columns in _FIELDS for column in columns), ("conn_trace_id", "string"))

_CHECKS = {
    "bucket": r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
    "prefix": r"[A-Za-z0-9!_.*()/-]{0,512}",
    "account": r"\d{12}",
    "region": r"[a-z]{2}(?:-[a-z]+)+-\d",
    "database": r"[a-z0-9_]{1,255}",
    "table": r"[a-z0-9_]{1,255}",
}


def ddl(bucket: str, prefix: str, account: str, region: str, database: str, table: str) -> str:
    """``CREATE EXTERNAL TABLE`` over the bucket's ALB logs, one partition a day without any upkeep.

    Raises UsageError for names that AWS would not allow.
    """
    given = {
        "bucket": bucket,
        "prefix": prefix,
        "account": account,
        "region": region,
        "database": database,
        "table": table,
    }
    for name, value in given.items():
        if not re.fullmatch(_CHECKS[name], value):
            raise UsageError(f"not a valid {name}: {value!r}")
    folder = "/".join(part for part in (bucket, prefix.strip("/")) if part)
    place = f"s3://{folder}/AWSLogs/{account}/elasticloadbalancing/{region}"
    columns = ",\n".join(f"  `{name}` {kind}" for name, kind in COLUMNS)
    return f"""CREATE EXTERNAL TABLE IF NOT EXISTS `{database}`.`{table}` (
{columns}
)
PARTITIONED BY (`day` string)
ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.RegexSerDe'
WITH SERDEPROPERTIES ('serialization.format' = '1', 'input.regex' = '{PATTERN}')
LOCATION '{place}/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.day.type' = 'date',
  'projection.day.range' = '2022/01/01,NOW',
  'projection.day.format' = 'yyyy/MM/dd',
  'projection.day.interval' = '1',
  'projection.day.interval.unit' = 'DAYS',
  'storage.location.template' = '{place}/${{day}}'
)
"""
