"""What all AWS sources share: the client and what its errors mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oomscope.errors import SourceError, UsageError

_DENIED = {
    "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException", "ExpiredToken",
    "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch", "AuthFailure", "InvalidAccessKeyId",
    "403",
}  # fmt: skip
_MISSING = {"ResourceNotFoundException", "NoSuchKey", "NoSuchBucket", "EntityNotFoundException", "404"}
_BUSY = {
    "ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown", "RequestLimitExceeded", "429",
}  # fmt: skip


@dataclass(frozen=True)
class AwsAccess:
    """Which account and region, and how to get there. Credentials come from the profile or the environment."""

    region: str | None = None
    profile: str | None = None
    account: str | None = None
    endpoint_url: str | None = None

    def client(self, service: str, *, timeout_s: float = 20.0, pool: int = 16, attempts: int = 4) -> Any:
        """A boto3 client with bounded timeouts. ``attempts`` 1 leaves retries to a caller who keeps to a quota."""
        try:
            import boto3
        except ImportError as error:
            raise UsageError(
                "the AWS sources are not installed", fix="pip install 'oomscope[aws]'", slug="missing-extra"
            ) from error
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        settings = Config(
            connect_timeout=5,
            read_timeout=timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=pool,
            user_agent_extra="oomscope",
        )
        try:
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
            return session.client(service, endpoint_url=self.endpoint_url, config=settings)
        except BotoCoreError as error:
            raise source_error(error, f"make a client for {service}") from error


def aws_errors() -> tuple[type[Exception], ...]:
    """What a call may raise: botocore's own, and what its parsers let through of an answer that is none of AWS's."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError, ValueError


def code_of(error: Exception) -> str:
    """The service's error code (``AccessDeniedException``), or the name of the exception class."""
    response = getattr(error, "response", None)
    return (
        str(response["Error"].get("Code", ""))
        if isinstance(response, dict) and "Error" in response
        else type(error).__name__
    )


def message_of(error: Exception) -> str:
    """The service's own words, without botocore's frame around them."""
    response = getattr(error, "response", None)
    told = response["Error"].get("Message") if isinstance(response, dict) and "Error" in response else None
    return str(told or error)[:300]


def is_throttle(error: Exception) -> bool:
    """Whether the service said "too fast"."""
    return code_of(error) in _BUSY


def source_error(error: Exception, what: str, *, permission: str | None = None) -> SourceError:
    """What a botocore exception means for the report, with the missing permission named."""
    code = code_of(error)
    detail = f"{what}: {code}: {message_of(error)}"
    if code in _DENIED:
        return SourceError(
            "denied",
            detail,
            fix=f"allow {permission} (oomscope doctor --policy)" if permission else "log in again",
        )
    if code in (
        "NoCredentialsError",
        "ProfileNotFound",
        "NoRegionError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
    ):
        return SourceError("denied", detail, fix="aws sso login, or set a profile and region")
    if code in _MISSING:
        return SourceError("no_data", detail, fix="check the name and the region")
    if code in _BUSY:
        return SourceError("timed_out", detail, fix="the account's quota is used up: run again in a minute")
    if "Timeout" in code:
        return SourceError("timed_out", detail)
    return SourceError("unreachable" if "Connect" in code or "Endpoint" in code else "unparsable", detail)
