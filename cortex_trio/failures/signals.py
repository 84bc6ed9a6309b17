"""Error codes and HTTP statuses that prove a failure kind: data. Messages are in `phrases`.

One table serves all providers. Where their codes contradict each other, the code includes its place in the body.
Each row names its source: "ref" is the provider's error reference, "rec" recorded traffic, "field" public reports.

Codes are compared without case, spaces and punctuation: `InvalidApiKey` is `invalid_api_key`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import attrs

from .body import normalized
from .kinds import FailureKind

K = FailureKind


@final
@attrs.frozen
class Codes:
    """Codes that prove one kind, and their source."""

    kind: FailureKind
    """What they prove."""

    names: str
    """The codes, separated by spaces."""

    source: str
    """Where they are documented or were seen."""


EXACT: tuple[Codes, ...] = (
    # ---- quota: money, or a window of a day and more
    Codes(K.QUOTA, "insufficient_quota billing_hard_limit_reached billing_not_active", "OpenAI ref"),
    Codes(
        K.QUOTA,
        "credit_balance_exhausted organization_spend_limit_exceeded project_spend_limit_exceeded"
        " organization_usage_limit_exceeded",
        "OpenAI field",
    ),
    Codes(K.QUOTA, "billing_error", "Anthropic ref"),
    Codes(K.QUOTA, "blocked_api_access", "Groq field: spend limit reached"),
    Codes(K.QUOTA, "quota:per_day", "Google QuotaFailure, reduced by body.py"),
    Codes(K.QUOTA, "insufficient_balance_error base_resp:1008", "MiniMax ref"),
    Codes(K.QUOTA, "exceeded_current_quota_error", "Moonshot ref"),
    Codes(
        K.QUOTA,
        "Arrearage PrepaidBillOverdue PostpaidBillOverdue CommodityNotPurchased AllocationQuota.FreeTierOnly",
        "DashScope ref",
    ),
    Codes(K.QUOTA, "error:1113 error:1304 error:1309", "z.ai ref: arrears, calls of the day, plan has ended"),
    Codes(K.QUOTA, "AccountOverdueError", "Volcengine Ark ref"),
    Codes(K.QUOTA, "NOT_ENOUGH_BALANCE BILLING_BALANCE_NOT_ENOUGH", "Novita ref"),
    Codes(K.QUOTA, "insufficient_user_quota payment_required credits_required", "gateways, field"),
    Codes(
        K.QUOTA,
        "pre_consume_token_quota_failed",
        "new-api field: the balance is below the price of the request",
    ),
    Codes(K.QUOTA, "CreditsError", "OpenCode field, status 401"),
    Codes(K.QUOTA, "errors:3036", "Cloudflare Workers AI ref: free allocation of the day"),
    # ---- rate limit, where a quota phrase stands beside it
    Codes(K.RATE_LIMIT, "quota:per_minute", "Google QuotaFailure, reduced by body.py"),
    # ---- context length
    Codes(K.CONTEXT_LENGTH, "context_length_exceeded", "OpenAI, Cerebras, SambaNova, Groq ref"),
    Codes(K.CONTEXT_LENGTH, "too_many_tokens", "Cohere rec"),
    Codes(
        K.CONTEXT_LENGTH,
        "model_max_prompt_tokens_exceeded max_prompt_tokens_exceeded",
        "GitHub Copilot field",
    ),
    Codes(K.CONTEXT_LENGTH, "tokens_limit_reached", "GitHub Models field"),
    Codes(K.CONTEXT_LENGTH, "exceed_context_size_error", "llama.cpp rec"),
    Codes(K.CONTEXT_LENGTH, "too_many_prompt_tokens", "Perplexity rec"),
    Codes(K.CONTEXT_LENGTH, "prompt_too_long input_too_long", "gateways, field"),
    Codes(K.CONTEXT_LENGTH, "error:1261", "z.ai ref"),
    Codes(K.CONTEXT_LENGTH, "errors:5021", "Cloudflare Workers AI field"),
    # ---- model not found
    Codes(K.MODEL_NOT_FOUND, "model_not_found", "OpenAI, Groq, Cerebras, LM Studio, Novita ref"),
    Codes(K.MODEL_NOT_FOUND, "model_decommissioned", "Groq rec"),
    Codes(K.MODEL_NOT_FOUND, "invalid_model", "Mistral rec, Perplexity field"),
    Codes(
        K.MODEL_NOT_FOUND,
        "model_not_supported unsupported_api_for_model",
        "GitHub Copilot, Hugging Face field",
    ),
    Codes(K.MODEL_NOT_FOUND, "unknown_model", "GitHub Models field"),
    Codes(
        K.MODEL_NOT_FOUND,
        "model_not_available model_not_exist unsupported_model",
        "Together, DashScope field",
    ),
    Codes(K.MODEL_NOT_FOUND, "model_deprecated model_retired", "gateways, field"),
    Codes(K.MODEL_NOT_FOUND, "ModelError", "OpenCode field, status 401"),
    Codes(K.MODEL_NOT_FOUND, "DeploymentNotFound DeploymentModelNotSupported", "Azure rec"),
    Codes(K.MODEL_NOT_FOUND, "InvalidEndpointOrModel.NotFound", "Volcengine Ark ref"),
    Codes(K.MODEL_NOT_FOUND, "RESOURCE_DOES_NOT_EXIST ENDPOINT_NOT_FOUND", "Databricks field"),
    Codes(K.MODEL_NOT_FOUND, "error:1211", "z.ai ref"),
    Codes(K.MODEL_NOT_FOUND, "errors:5007 errors:3042", "Cloudflare Workers AI ref"),
    # ---- credential
    Codes(K.CREDENTIAL, "invalid_api_key account_deactivated", "OpenAI ref; DashScope InvalidApiKey"),
    Codes(K.CREDENTIAL, "api_key_invalid unauthenticated", "Gemini rec"),
    Codes(K.CREDENTIAL, "authentication_error", "Anthropic ref"),
    Codes(K.CREDENTIAL, "invalid_authentication_error incorrect_api_key_error", "Moonshot ref"),
    Codes(K.CREDENTIAL, "error:1000 error:1001 error:1002 error:1003 error:1004", "z.ai ref"),
    Codes(
        K.CREDENTIAL, "error:1110 error:1111 error:1112 error:1121", "z.ai ref: account inactive or locked"
    ),
    Codes(K.CREDENTIAL, "base_resp:1004 base_resp:2049", "MiniMax ref"),
    Codes(K.CREDENTIAL, "organization_restricted", "Groq field, status 400"),
    Codes(
        K.CREDENTIAL,
        "UnrecognizedClientException InvalidSignatureException ExpiredTokenException InvalidClientTokenId",
        "AWS ref",
    ),
    # ---- permission
    Codes(K.PERMISSION, "permission_error", "Anthropic ref"),
    Codes(K.PERMISSION, "model_terms_required", "Groq field"),
    Codes(K.PERMISSION, "error:1220 error:1311", "z.ai ref"),
    Codes(K.PERMISSION, "errors:5016 errors:5018 errors:3023 errors:3041", "Cloudflare Workers AI ref"),
    # ---- overloaded
    Codes(K.OVERLOADED, "overloaded_error", "Anthropic ref"),
    Codes(K.OVERLOADED, "capacity_exceeded", "Groq ref: flex tier, status 498"),
    Codes(K.OVERLOADED, "unavailable unavailable_error", "Gemini ref; llama.cpp rec"),
    Codes(K.OVERLOADED, "engine_overloaded_error", "Moonshot ref, status 429"),
    Codes(K.OVERLOADED, "service_tier_capacity_exceeded", "Mistral field, status 429"),
    Codes(K.OVERLOADED, "queue_exceeded", "Cerebras ref, status 429"),
    Codes(K.OVERLOADED, "ModelNotReadyException ServiceUnavailableException", "Bedrock ref"),
    Codes(K.OVERLOADED, "NoCapacity ServerOverloaded", "Azure, Volcengine Ark field"),
    Codes(K.OVERLOADED, "error:1312", "z.ai ref"),
    Codes(K.OVERLOADED, "errors:3040", "Cloudflare Workers AI ref"),
    # ---- content policy and region
    Codes(K.CONTENT_POLICY, "content_filter ResponsibleAIPolicyViolation", "Azure rec; Moonshot ref"),
    Codes(
        K.CONTENT_POLICY,
        "content_policy_violation image_content_policy_violation moderation_blocked cyber_policy_violation",
        "OpenAI ref",
    ),
    Codes(K.CONTENT_POLICY, "DataInspectionFailed", "DashScope ref"),
    Codes(K.CONTENT_POLICY, "error:1301", "z.ai ref"),
    Codes(K.CONTENT_POLICY, "base_resp:1026 base_resp:1027", "MiniMax ref"),
    Codes(K.CONTENT_POLICY, "illegal_prompt safety_check_failed", "Novita, ZenMux ref"),
    Codes(K.REGION, "unsupported_country_region_territory", "OpenAI ref"),
    # ---- protocol: the model's output was wrong, not the request; another attempt may succeed
    Codes(K.PROTOCOL, "tool_use_failed json_validate_failed output_parse_failed", "Groq rec"),
    Codes(K.PROTOCOL, "malformed_function_call malformed_tool_call", "Gemini ref"),
    Codes(K.BAD_REQUEST, "request_too_large", "Anthropic ref"),
    Codes(
        K.BAD_REQUEST,
        "invalid_image invalid_image_format invalid_image_mode invalid_image_url invalid_base64_image image_too_large"
        " image_too_small image_parse_error image_file_too_large image_file_not_found empty_image_file"
        " unsupported_image_media_type",
        "OpenAI ref, also after a 200: the message may quote the address of the image",
    ),
)
"""Codes that prove a kind by themselves, before any message and status."""

PARTS: tuple[Codes, ...] = (
    Codes(
        K.CONTEXT_LENGTH,
        "context_length context_window context_size prompt_too_long input_too_long",
        "variants",
    ),
    Codes(
        K.CONTENT_POLICY,
        "content_filter content_policy sensitive_content content_moderation",
        "Volcengine Ark ref",
    ),
    Codes(
        K.MODEL_NOT_FOUND, "model_not_found model_not_exist model_does_not_exist unknown_model", "variants"
    ),
    Codes(K.QUOTA, "insufficient_balance insufficient_credit insufficient_fund", "variants"),
    Codes(
        K.CREDENTIAL,
        "invalid_api_key incorrect_api_key api_key_invalid api_key_expired expired_api_key wrong_api_key",
        "variants",
    ),
    Codes(K.OVERLOADED, "overloaded", "variants"),
    Codes(
        K.PERMISSION,
        "model_access_denied",
        "LiteLLM field, status 401: of a key, a user, a team or a project",
    ),
)
"""Parts of longer codes that prove a kind."""

VAGUE: tuple[Codes, ...] = (
    Codes(
        K.RATE_LIMIT,
        "rate_limit_exceeded rate_limit_error tokens requests",
        "OpenAI, Anthropic ref: also with a spent daily quota or a prompt over the limit",
    ),
    Codes(
        K.RATE_LIMIT, "resource_exhausted some_resource_has_been_exhausted", "Gemini ref; xAI spells gRPC out"
    ),
    Codes(K.RATE_LIMIT, "rate_limited too_many_requests too_many_requests_error", "Mistral, Cerebras field"),
    Codes(K.RATE_LIMIT, "token_quota_exceeded", "Cerebras ref: tokens of a minute"),
    Codes(K.RATE_LIMIT, "RateLimitReached", "Azure rec, GitHub Models field"),
    Codes(K.RATE_LIMIT, "REQUEST_LIMIT_EXCEEDED", "Databricks field"),
    Codes(K.RATE_LIMIT, "rate_limit_reached_error", "Moonshot ref"),
    Codes(K.RATE_LIMIT, "ThrottlingException Throttling TooManyRequestsException", "AWS, DashScope ref"),
    Codes(K.RATE_LIMIT, "error:1302 error:1303 error:1305 error:1313", "z.ai ref"),
    Codes(K.RATE_LIMIT, "base_resp:1002 base_resp:1039 base_resp:1041", "MiniMax ref"),
    Codes(
        K.QUOTA,
        "usage_limit_reached usage_limit_exceeded quota_exceeded budget_exceeded error:1308 error:1310 base_resp:2056",
        "ChatGPT backend, Copilot, LiteLLM field; z.ai, MiniMax ref: windows of hours and weeks",
    ),
    Codes(
        K.PERMISSION,
        "permission_denied permission_denied_error access_terminated_error",
        "Gemini, Moonshot ref",
    ),
    Codes(K.PERMISSION, "AccessDenied AccessDeniedException", "DashScope, AWS ref"),
    Codes(K.CREDENTIAL, "unauthorized invalid_token token_expired authorized_error", "GitHub, MiniMax field"),
)
"""Codes that count less than a message."""

VAGUE_PARTS: tuple[Codes, ...] = (Codes(K.RATE_LIMIT, "rate_limit throttling too_many_requests", "variants"),)

WITHOUT_STATUS: tuple[Codes, ...] = (
    Codes(K.BAD_REQUEST, "invalid_request_error invalid_argument", "OpenAI, Gemini ref"),
    Codes(K.MODEL_NOT_FOUND, "not_found_error", "Anthropic ref"),
    Codes(
        K.BAD_REQUEST, "invalid_prompt", "OpenAI ref: the Responses API after it has begun to answer with 200"
    ),
)
"""Codes that count less than an HTTP status, so only inside a stream."""

STATUSES: Mapping[int, FailureKind] = {
    400: K.BAD_REQUEST,
    401: K.CREDENTIAL,
    402: K.QUOTA,
    403: K.PERMISSION,
    # 404 is in classify.py: it depends on the message. 410 is used for a retired model (SambaNova ref).
    408: K.SERVER,
    410: K.MODEL_NOT_FOUND,
    413: K.BAD_REQUEST,
    415: K.BAD_REQUEST,
    422: K.BAD_REQUEST,
    429: K.RATE_LIMIT,
    498: K.CREDENTIAL,  # Cohere "invalid token"; Groq's 498 carries capacity_exceeded
    499: K.SERVER,  # Cohere: the connection to the model was closed
    529: K.OVERLOADED,
}
"""Any other 4xx is `unknown`: it is about the path, a proxy or the time. Any other 5xx is `server`.

411, 414 and 431 are not in the table: the length, path and headers of a request are made by us, not by the caller.
"""


def table(rows: tuple[Codes, ...]) -> Mapping[str, FailureKind]:
    """Return the failure kind of each code, normalized.

    Args:
        rows: Rows of one of the tables above.
    """
    return {normalized(name): row.kind for row in rows for name in row.names.split()}
