"""AWS Signature Version 4 for plain HTTP requests, with botocore's own signer and credentials."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from oomscope.errors import SourceError


class SigV4(httpx.Auth):
    """Signs each request for one AWS service, e.g. ``aps`` or ``monitoring``."""

    requires_request_body = True

    def __init__(self, service: str, region: str | None, profile: str | None) -> None:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        try:
            session = Session(profile=profile)
            self._region = region or session.get_config_variable("region")
            credentials = session.get_credentials()
        except BotoCoreError as error:
            raise SourceError(
                "denied", f"AWS credentials: {error}", fix="aws sso login, or set a profile"
            ) from error
        if credentials is None or not self._region:
            missing = "credentials" if credentials is None else "region"
            raise SourceError("denied", f"no AWS {missing}", fix="set AWS_PROFILE and a region")
        self._service, self._credentials = service, credentials

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature headers."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        headers = {
            "Content-Type": request.headers.get("Content-Type", ""),
            "Host": request.url.netloc.decode(),
        }
        signed = AWSRequest(request.method, str(request.url), data=request.content, headers=headers)
        SigV4Auth(self._credentials.get_frozen_credentials(), self._service, self._region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request
