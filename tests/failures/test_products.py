"""What the errors of each product prove, one table per kind: same structure as theirs, other words, names and numbers.

The second half holds what looks like a signal and is none.
"""

# ruff: noqa: E501 - tables: one body on one line can be compared with its neighbours

import json
from typing import Any

import pytest

from cortex_trio.failures import FailureKind, classify, classify_payload

K = FailureKind
Row = tuple[str, int, object]


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


def router(status: int, raw: object, **metadata: Any) -> dict[str, Any]:
    """OpenRouter: what the upstream said is a string in `metadata.raw`."""
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return error(
        "Provider returned error", code=status, metadata={"raw": text, "provider_name": "P", **metadata}
    )


def mistral(message: object, type: str, code: str) -> dict[str, Any]:
    return {
        "object": "error",
        "message": message,
        "type": type,
        "param": None,
        "code": code,
        "raw_status_code": 400,
    }


def minimax(code: int, message: str) -> dict[str, Any]:
    return {"base_resp": {"status_code": code, "status_msg": message}, "choices": None}


def cloudflare(code: int, message: str) -> dict[str, Any]:
    return {
        "success": False,
        "result": {},
        "messages": [],
        "errors": [{"message": f"AiError: {message}", "code": code}],
    }


CONTEXT_LENGTH: list[Row] = [
    ("Groq", 413, error("Request too large for model `x` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 7000", code="rate_limit_exceeded")),
    ("OpenAI", 400, error("Your input exceeds the context window of this model. Please adjust it.", code=None)),
    ("OpenAI", 400, error("This model's maximum context length is 16385 tokens. Your messages had 31228.", param="messages")),
    ("xAI", 400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 9000 but the request contains 12000 tokens."}),
    ("Anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
    ("Anthropic", 400, error("input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000, decrease them", type="invalid_request_error")),
    ("Mistral", 400, mistral("Prompt contains 70000 tokens and 0 draft tokens, too large for model with 65536 maximum context length", "invalid_request_prompt", "3051")),
    ("DeepSeek", 400, error("This model's maximum context length is 131072 tokens. However, you requested 131100 tokens.", code="invalid_request_error")),
    ("OpenRouter", 400, error("This endpoint's maximum context length is 32768 tokens. However, you requested about 40000 tokens (39000 of text input).", code=400)),
    ("OpenRouter, upstream", 400, router(400, error("prompt is too long: 9 tokens > 8 maximum", type="invalid_request_error"))),
    ("OpenRouter, Poolside", 400, error("Input length 300000 exceeds the maximum allowed input length of 262144 tokens.")),
    ("llama.cpp", 400, error("request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it", code=400)),
    ("llama.cpp, server error", 500, error("the request exceeds the available context size. try increasing the context size", code=500, type="server_error")),
    ("Perplexity", 400, error("The total length of all messages is too long.", code=400)),
    ("vLLM", 400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages.", "type": "BadRequestError", "code": 400}),
    ("vLLM, embeddings", 400, {"object": "error", "message": "This model's maximum context length is 512 tokens. However, your request has 900 input tokens. Please reduce the length of the input messages.", "code": 400}),
    ("vLLM v1", 400, error("The decoder prompt (length 33000) is longer than the maximum model length of 32768.")),
    ("vLLM, completion", 400, error("max_tokens is too large: 5000. This model's maximum context length is 4096 tokens and your request has 10 input tokens (5000 > 4096 - 10).")),
    ("SGLang", 400, {"object": "error", "message": "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of 9000 tokens.", "code": 400}),
    ("Moonshot", 400, error("Invalid request: Your request exceeded model token limit: 262144 (requested: 300001)", type="invalid_request_error")),
    ("Moonshot", 400, error("Input token length too long", type="invalid_request_error")),
    ("DashScope", 400, error("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]", code="invalid_parameter_error")),
    ("DashScope native", 400, {"code": "InvalidParameter", "message": "Range of input length should be [1, 30720]", "request_id": "r"}),
    ("Copilot", 400, error("prompt token count of 130500 exceeds the limit of 128000", code="model_max_prompt_tokens_exceeded")),
    ("Copilot, without its code", 400, error("prompt token count of 130500 exceeds the limit of 128000")),
    ("GitHub Models", 413, error("Request body too large for o9-mini model. Max size: 4000 tokens.", code="tokens_limit_reached")),
    ("z.ai", 400, error("Prompt exceeds max length", code="1261")),
    ("z.ai in Chinese", 400, error("Prompt 超长", code="1261")),
    ("Bedrock", 400, {"message": "Input is too long for requested model."}),
    ("Bedrock", 400, {"message": "The model returned the following errors: Input is too long for requested model."}),
    ("Bedrock, Titan", 400, {"message": "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9001"}),
    ("Bedrock, Titan", 400, {"message": "Malformed input request: expected maxLength: 50000, actual: 61234, please reformat your input and try again."}),
    ("TGI", 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000 `inputs` tokens and 9 `max_new_tokens`", "error_type": "validation"}),
    ("TGI", 422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 4096", "error_type": "validation"}),
    ("Cloudflare", 400, cloudflare(5021, "The estimated number of input and maximum output tokens (9000) exceeded this model context window limit (7968).")),
    ("Databricks", 400, {"error_code": "BAD_REQUEST", "message": json.dumps({"message": "Input is too long for requested model."})}),
    ("Together", 400, error("The input (140000 tokens) is longer than the model's context length (131072 tokens).")),
    ("Together", 422, error("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5013")),
    ("Fireworks", 400, error("The prompt is too long: 140000, model maximum context length: 131071", code="invalid_request_error")),
    ("SambaNova", 400, error("The maximum context length of Meta-Llama-9 is 8192. However, answering your request will take 9000 tokens.")),
    ("Cerebras", 400, {"message": "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192", "type": "invalid_request_error", "code": "context_length_exceeded"}),
    ("NIM", 400, {"object": "error", "message": "Prompt length (5000) exceeds maximum input length (4096)", "code": 400}),
    ("LM Studio", 400, {"error": "Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens."}),
    ("LM Studio", 400, {"error": "The number of tokens to keep from the initial prompt is greater than the context length. Try to load the model with a larger context length."}),
    ("Ollama, embed", 400, {"error": "the input length exceeds the context length"}),
    ("Ollama", 400, {"error": "prompt too long; exceeded max context length by 4 tokens"}),
    ("Azure", 400, error("This model's maximum context length is 8192 tokens, however you requested 9000 tokens (9000 in your prompt; 0 for the completion).", code="context_length_exceeded")),
    ("MiniMax", 400, error("invalid params, context window exceeds limit (2013)", type="bad_request_error")),
    ("Cohere", 400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5019."}),
    ("Gemini", 400, error("The input token count (9) exceeds the maximum number of tokens allowed (8).", code=400, status="INVALID_ARGUMENT")),
    ("Snowflake", 400, {"message": "max tokens of 8192 exceeded. To increase the maximum, use another model."}),
    ("DS4", 400, error("Prompt has 70,000 tokens, but the configured context size is 65,536 tokens")),
    ("LiteLLM", 400, error("litellm.ContextWindowExceededError: litellm.BadRequestError: ContextWindowExceededError: OpenAIException - Error code: 400 - {'error': {'message': \"This model's maximum context length is 128000 tokens. However, your messages resulted in 709582 tokens.\"}}", code="400")),
    ("SiliconFlow", 400, {"code": 20015, "message": "length of prompt_tokens (40000) must be less than max_seq_len (32768).", "data": None}),
]  # fmt: skip

MODEL_NOT_FOUND: list[Row] = [
    ("OpenAI", 404, error("The model `gpt-9x` does not exist or you do not have access to it.", code="model_not_found")),
    ("OpenAI", 400, error("The requested model 'gpt-9x' does not exist.", param="model")),
    ("OpenAI, other endpoint", 404, error("This is not a chat model and thus not supported in the v1/chat/completions endpoint.", param="model")),
    ("OpenAI, retired", 404, error("The model `gpt-2` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations")),
    ("xAI", 404, {"code": "Some requested entity was not found", "error": "The model grok-77 does not exist or your team 1 does not have access to it."}),
    ("xAI", 400, {"code": "invalid-argument", "error": "Model not found: grok-77"}),
    ("Anthropic", 404, {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-opus-77"}}),
    ("Mistral", 400, mistral("Invalid model: mistral-huge", "invalid_model", "1500")),
    ("DeepSeek", 400, error("Model Not Exist", code="invalid_request_error")),
    ("DeepSeek", 400, error("The supported API model names are a-1, a-2 or a-3, but you passed b-7.")),
    ("OpenRouter", 400, error("acme/rocket is not a valid model ID", code=400)),
    ("OpenRouter", 404, error("No endpoints found for acme/rocket.", code=404)),
    ("OpenRouter, upstream", 404, router(404, error("The model `rocket` does not exist", code="model_not_found"))),
    ("Perplexity", 400, error("Invalid model 'sonar-9'. Permitted models can be found in the documentation.", type="invalid_model", code=400)),
    ("vLLM", 404, {"object": "error", "message": "The model `/data/x` does not exist.", "type": "NotFoundError", "code": 404}),
    ("llama.cpp router", 400, error("model 'qwen-x' not found", type="invalid_request_error")),
    ("Moonshot", 404, error("Not found the model kimi-9 or Permission denied", type="resource_not_found_error")),
    ("DashScope", 404, error("The model `qwen-9` does not exist or you do not have access to it.", code="model_not_found")),
    ("DashScope", 404, {"code": "ModelNotFound", "message": "Model can not be found."}),
    ("DashScope", 400, {"code": "InvalidParameter", "message": "Model not exist."}),
    ("DashScope coding plan", 400, error("model 'qwen-x' is not supported")),
    ("Copilot", 400, error("The requested model is not supported.", code="model_not_supported", param="model")),
    ("GitHub Models", 400, error("Unknown model: acme/rocket", code="unknown_model", details="Unknown model: acme/rocket")),
    ("z.ai", 400, error("Unknown Model, please check the model code.", code="1211")),
    ("z.ai in Chinese", 400, error("模型不存在,请检查模型代码", code="1211")),
    ("Bedrock", 400, {"message": "The provided model identifier is invalid."}),
    ("Bedrock", 400, {"message": "Invocation of model ID acme.rocket-v1:0 with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model."}),
    ("Bedrock, legacy", 404, {"message": "This model version has reached the end of its life. Please refer to the AWS documentation."}),
    ("Hugging Face", 404, {"error": "Model acme/rocket does not exist"}),
    ("Hugging Face", 400, error("The requested model 'acme/rocket' is not supported by any provider you have enabled.", code="model_not_supported")),
    ("Cloudflare", 400, cloudflare(5007, "No such model @cf/acme/rocket or task")),
    ("Databricks", 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "The given endpoint does not exist, please retry after checking the specified model and version deployment exists."}),
    ("Together", 404, error("Unable to access model acme/rocket. Please visit https://api.together.ai/models to view the list.", code="model_not_available")),
    ("Together, without its code", 404, error("Unable to access model acme/rocket. Please visit our site.")),
    ("Fireworks", 404, error("Model not found, inaccessible, and/or not deployed", code="NOT_FOUND")),
    ("SambaNova", 410, error("The requested model is no longer available.")),
    ("Cerebras", 404, {"message": "Model rocket does not exist or you do not have access to it.", "type": "not_found_error", "param": "model", "code": "model_not_found"}),
    ("NIM", 404, {"status": 404, "title": "Not Found", "detail": "Function '1-2-3': Not found for account 'abc'"}),
    ("LM Studio", 404, error("No models loaded. Please load a model in the developer page.", param="model")),
    ("Ollama", 404, {"error": "model \"rocket:7b\" not found, try pulling it first"}),
    ("Azure", 404, error("The API deployment for this resource does not exist. If you created it recently, please wait.", code="DeploymentNotFound")),
    ("Azure", 400, error("The chatCompletion operation does not work with the specified model, ada. Please choose a different model.", code="OperationNotSupported")),
    ("Azure, region", 400, error("The model 'rocket' is not available in your region.")),
    ("Gemini", 404, error("models/rocket is not found for API version v1beta, or is not supported for generateContent.", code=404, status="NOT_FOUND")),
    ("Vertex AI", 404, error("Publisher Model `projects/p/locations/l/publishers/google/models/rocket` was not found or your project does not have access to it.", status="NOT_FOUND")),
    ("Cohere", 404, {"message": "model 'command-x' not found, make sure the correct model ID was used"}),
    ("Groq", 400, error("The model `mixtral-1` has been decommissioned and is no longer supported.", code="model_decommissioned")),
    ("Codex", 400, {"detail": "The 'gpt-9-codex' model is not supported when using Codex with a ChatGPT account."}),
    ("SiliconFlow", 400, {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None}),
    ("LiteLLM", 400, error("Invalid model name passed in model=rocket. Call `/v1/models` to view available models for your key.", code="400")),
    ("one-api", 503, error("No available channel for model rocket under group default", code="model_not_found")),
    ("LiteLLM", 400, error("/chat/completions: Invalid model name passed in model=rocket. Call `/v1/models` to view available models.", type="None", param="None", code="400")),
    ("OpenCode", 401, {"type": "error", "error": {"type": "ModelError", "message": "Model rocket not supported"}}),
    ("one-api", 503, error("当前分组 default 下对于模型 rocket 无可用渠道", type="one_api_error")),
]  # fmt: skip

BAD_REQUEST: list[Row] = [
    ("OpenAI", 404, error("tools is not supported in this model. For a list of supported models, see https://x.", code=None)),
    ("OpenAI", 404, error("functions are not supported by this model", code=None)),
    ("OpenAI", 400, error("Invalid content type. image_url is only supported by certain models.", param="messages.[0].content")),
    ("OpenRouter", 404, error("No endpoints found that support image input", code=404)),
    ("OpenRouter", 404, error("No endpoints found that support the provided 'tool_choice' value.", code=404)),
    ("OpenRouter", 404, error("No endpoints found that can handle the requested parameters.", code=404)),
    ("Ollama", 400, {"error": "registry.ollama.ai/library/gemma9:4b does not support tools"}),
    ("Ollama", 400, {"error": "\"gemma9\" does not support thinking"}),
    ("Groq", 400, error("`tool calling` is not supported with this model", type="invalid_request_error")),
    ("Groq", 404, error("reasoning_effort is not supported with this model")),
    ("Gemini", 400, error("Function calling is not enabled for models/gemma-9", code=400, status="INVALID_ARGUMENT")),
    ("Gemini", 400, error("Developer instruction is not enabled for models/gemma-9", code=400)),
    ("Gemini", 400, error("Image input modality is not enabled for models/gemma-9", code=400)),
    ("Cloudflare", 405, cloudflare(5005, "The model @cf/acme/rocket does not support LoRA inference")),
    ("vLLM", 400, {"object": "error", "message": "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set", "code": 400}),
    ("vLLM", 400, {"object": "error", "message": "acme/rocket is not a multimodal model", "code": 400}),
    ("llama.cpp", 500, error("audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj", code=500)),
    ("xAI", 400, {"code": "invalid-argument", "error": "Model grok-77 does not support parameter stop."}),
    ("Mistral", 422, mistral({"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"}]}, "invalid_request_error", "3000")),
    ("DeepSeek", 400, error("rocket does not support this tool_choice")),
    ("LM Studio", 404, error("Model does not support images. Please use a model that does.")),
    ("system prompts", 404, error("System messages are not supported by the requested model.")),
    ("a large request", 413, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}),
    ("nginx", 413, b"<html><head><title>413 Request Entity Too Large</title></head></html>"),
]  # fmt: skip

QUOTA: list[Row] = [
    ("OpenAI", 429, error("You exceeded your current quota, please check your plan and billing details.", code="insufficient_quota", type="insufficient_quota")),
    ("Anthropic", 400, error("Your credit balance is too low to access the API. Please purchase credits.", type="invalid_request_error")),
    ("MiniMax", 429, {"type": "error", "error": {"type": "insufficient_balance_error", "message": "insufficient balance (1008)", "http_code": "429"}}),
    ("MiniMax", 429, error("usage limit exceeded, 5-hour usage limit reached for Token Plan (2056)", type="rate_limit_error", http_code="429")),
    ("Moonshot", 429, error("Your account is suspended due to insufficient balance, please recharge your account", type="exceeded_current_quota_error")),
    ("Kimi", 403, error("You've reached your usage limit for this billing cycle. Your quota will be refreshed in the next cycle.", type="access_terminated_error")),
    ("z.ai", 429, error("Insufficient balance or no resource package. Please recharge.", code="1113")),
    ("z.ai, Anthropic's dialect", 429, {"type": "error", "error": {"type": "rate_limit_error", "code": "1113", "message": "[1113][Insufficient balance]"}}),
    ("z.ai in Chinese", 429, error("余额不足或无可用资源包,请充值。", code="1113")),
    ("z.ai, five hours", 429, error("Usage limit reached for 5 hour. Your limit will reset at 2026-12-01 05:00:00", code="1308")),
    ("z.ai, plan", 429, error("Your GLM Coding Plan package has expired", code="1309")),
    ("DashScope", 400, error("Access denied, please make sure your account is in good standing.", code="Arrearage", type="Arrearage")),
    ("DashScope", 403, error("The free tier of the model has been exhausted. To continue, disable the free-tier-only mode.", code="AllocationQuota.FreeTierOnly")),
    ("DashScope", 429, {"code": "PrepaidBillOverdue", "message": "The prepaid bill is overdue."}),
    ("DeepSeek", 402, error("Insufficient Balance", code="invalid_request_error")),
    ("OpenRouter", 402, error("This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 5300.", code=402)),
    ("OpenRouter", 403, error("Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys", code=403)),
    ("OpenRouter, free models", 429, error("Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day", code=429)),
    ("Hugging Face", 402, {"error": "You have exceeded your monthly included credits for Inference Providers."}),
    ("xAI", 429, {"code": "Some resource has been exhausted", "error": "Your team has either used all available credits or reached its monthly spending limit."}),
    ("xAI", 403, {"code": "The caller does not have permission", "error": "Your newly created team doesn't have any credits or licenses yet. Insufficient credits."}),
    ("GitHub Models", 429, error("Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 52220 seconds before retrying.", code="RateLimitReached")),
    ("Copilot", 402, error("You have no quota", code="quota_exceeded")),
    ("Cloudflare", 429, cloudflare(3036, "you have used up your daily free allocation of 10,000 neurons")),
    ("Together", 402, error("Credit limit exceeded, please navigate to the billing page")),
    ("Fireworks", 412, {"error": "Account acme is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."}),
    ("Novita", 403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "not enough balance"}),
    ("SiliconFlow", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
    ("Groq", 429, error("Rate limit reached for model `x` on tokens per day (TPD): Limit 100000, Used 99000, Requested 2000. Please try again in 14m24s.", code="rate_limit_exceeded")),
    ("Ollama", 429, {"error": "you (acme) have reached your weekly usage limit, upgrade for higher limits: https://ollama.com/upgrade"}),
    ("LiteLLM", 400, error("Budget has been exceeded! Current cost: 3.2, Max budget: 3.0", type="budget_exceeded", code="400")),
    ("CoreWeave", 402, error("You exceeded your current quota, please check your plan and billing details")),
    ("OpenCode", 401, {"type": "error", "error": {"type": "CreditsError", "message": "No payment method. Add one here: https://host.test/billing"}}),
    ("new-api", 403, error("预扣费额度失败, 用户剩余额度: 0.1, 需要预扣费额度: 0.2", type="new_api_error", code="pre_consume_token_quota_failed")),
    ("new-api, without its code", 403, error("预扣费额度失败, 用户剩余额度: 0.1", type="new_api_error")),
]  # fmt: skip

RATE_LIMIT: list[Row] = [
    ("a gateway that calls it a 500", 500, error("upstream said no", code=429)),
    ("OpenAI over TPM", 429, error("Request too large for gpt-9 in organization org-1 on tokens per min (TPM): Limit 30000, Requested 41000.", type="tokens", code="rate_limit_exceeded")),
    ("OpenRouter, upstream", 429, router(429, "acme/rocket:free is temporarily rate-limited upstream. Please retry shortly, or add your own key.")),
    ("OpenRouter, free models", 429, error("Rate limit exceeded: free-models-per-min. ", code=429)),
    ("Azure", 429, error("Requests to the ChatCompletions_Create Operation have exceeded token rate limit of your current AIServices S0 pricing tier. Please retry after 26 seconds.", code="429")),
    ("GitHub Models", 429, error("Rate limit of 15 per 60s exceeded for UserByMinute. Please wait 12 seconds before retrying.", code="RateLimitReached")),
    ("Bedrock", 429, {"message": "Too many tokens, please wait before trying again."}),
    ("Bedrock", 429, {"message": "Too many requests, please wait before trying again."}),
    ("Databricks", 429, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "REQUEST_LIMIT_EXCEEDED: Exceeded workspace input tokens per minute rate limit for databricks-x"}),
    ("Cerebras", 429, {"message": "Tokens per minute limit exceeded - too many tokens processed.", "type": "too_many_tokens_error", "param": "quota", "code": "token_quota_exceeded"}),
    ("Mistral", 429, {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "param": None, "code": "1300"}),
    ("Moonshot", 429, error("Your account org-1 request reached organization max RPM: 3, please try again after 1 seconds", type="rate_limit_reached_error")),
    ("z.ai", 429, error("High concurrency usage of this API, please reduce concurrency", code="1302")),
    ("DashScope", 429, error("Allocated quota exceeded, please increase your quota limit.", code="Throttling.AllocationQuota")),
    ("DashScope", 429, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded, please try again later."}),
    ("MiniMax", 429, minimax(1002, "rate limit")),
    ("CoreWeave", 429, error("Concurrency limit reached for requests")),
    ("Anthropic", 429, {"type": "error", "error": {"type": "rate_limit_error", "message": "This request would exceed your account's rate limit. Please try again later."}}),
    ("Gemini, without details", 429, error("You exceeded your current quota, please check your plan and billing details.", code=429, status="RESOURCE_EXHAUSTED")),
    ("Vertex AI", 429, error("Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model", code=429, status="RESOURCE_EXHAUSTED")),
    ("a page", 429, b"<html><body><h1>Too many requests</h1></body></html>"),
    ("DashScope, tokens of a minute", 429, error("You exceeded your current quota, please check your plan. See https://help.host.test/model-studio/error-code#token-limit.", code="insufficient_quota", type="insufficient_quota")),
    ("DashScope, tokens of a minute", 429, error("Allocated quota exceeded, please increase your quota limit.", code="insufficient_quota")),
]  # fmt: skip

CONTENT_POLICY: list[Row] = [
    ("Azure", 400, error("The response was filtered due to the prompt triggering the content management policy.", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})),
    ("Azure, its inner code only", 400, error("The response was filtered.", code=None, innererror={"code": "ResponsibleAIPolicyViolation"})),
    ("z.ai", 400, error("System detected potentially unsafe or sensitive content in input or generation.", code="1301")),
    ("z.ai in Chinese", 400, error("系统检测到输入或生成内容可能包含不安全或敏感内容", code="1301")),
    ("DeepSeek", 400, error("Content Exists Risk", code="invalid_request_error")),
    ("Moonshot", 400, error("The request was rejected because it was considered high risk", type="content_filter")),
    ("DashScope", 400, {"code": "DataInspectionFailed", "message": "Output data may contain inappropriate content."}),
    ("DashScope", 400, error("Input text data may contain inappropriate content.", code="data_inspection_failed")),
    ("OpenRouter", 403, error("Your chosen model requires moderation and your input was flagged for \"harassment\"", code=403, metadata={"reasons": ["harassment"], "flagged_input": "…"})),
    ("OpenRouter, xAI", 403, router(403, {"code": "The caller does not have permission", "error": "Content violates usage guidelines. Team: t, API key ID: k, Model: m, Failed check: SAFETY_CHECK_TYPE_BIO"})),
    ("OpenAI", 400, error("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt")),
    ("OpenAI, images", 400, error("Your request was rejected by the safety system.", code="moderation_blocked")),
    ("Vertex AI", 400, error("The prompt could not be submitted. This prompt contains sensitive words that violate Google's Responsible AI practices.", status="INVALID_ARGUMENT")),
    ("MiniMax", 400, minimax(1026, "input new_sensitive")),
    ("MiniMax", 422, error("input new_sensitive (1026)", type="unprocessable_entity_error")),
    ("Volcengine", 400, error("The request failed because the input text may contain sensitive information.", code="InputTextSensitiveContentDetected")),
]  # fmt: skip

CREDENTIAL: list[Row] = [
    ("OpenAI", 401, error("Incorrect API key provided: abc.", code="invalid_api_key")),
    ("xAI", 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: x***y. You can obtain one from the console."}),
    ("Gemini", 400, error("API key expired. Please renew the API key.", code=400, status="INVALID_ARGUMENT")),
    ("DashScope", 401, error("Incorrect API key provided.", code="invalid_api_key")),
    ("DashScope native", 401, {"code": "InvalidApiKey", "message": "Invalid API-key provided."}),
    ("Moonshot", 401, error("Invalid Authentication", type="invalid_authentication_error")),
    ("z.ai", 401, error("token expired or incorrect", code="1003")),
    ("MiniMax", 401, error("login fail: Please carry the API secret key in the 'Authorization' field (1004)", type="authorized_error")),
    ("Bedrock", 403, {"Message": "Authentication failed: Please make sure your API Key is valid."}),
    ("AWS", 403, {"message": "The security token included in the request is expired"}),
    ("Azure", 401, error("Access denied due to invalid subscription key or wrong API endpoint.", code="401")),
    ("Mistral", 401, {"message": "Unauthorized", "request_id": "r"}),
    ("Hugging Face", 400, {"error": "Authorization header is correct, but the token seems invalid"}),
    ("Perplexity, a page", 401, b"<html><head><title>401 Authorization Required</title></head><body>openresty</body></html>"),
    ("OpenRouter", 401, error("No auth credentials found", code=401)),
    ("Gemini, leaked", 403, error("Your API key was reported as leaked. Please use another API key.", code=403, status="PERMISSION_DENIED")),
    ("Anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "This organization has been disabled."}}),
    ("Groq", 400, error("Organization has been restricted. Please reach out to support.", type="invalid_request_error", code="organization_restricted")),
    ("a gateway", 403, error("Your account org-1<ak-2> is suspended, please contact us")),
]  # fmt: skip

PERMISSION: list[Row] = [
    ("a gateway", 403, error("this model is not available to your account")),
    ("a gateway", 404, error("The model rocket is not available on your plan.")),
    ("Bedrock", 403, {"message": "You don't have access to the model with the specified model ID."}),
    ("AWS", 403, {"message": "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel on resource: y"}),
    ("GitHub Models", 403, error("No access to model: acme/rocket", code="no_access")),
    ("OpenRouter, data policy", 404, error("No endpoints found matching your data policy (Free model publication).", code=404)),
    ("MiniMax", 400, error("your current token plan not support model, rocket (2061)", type="bad_request_error")),
    ("Groq", 400, error("The model `x` requires terms acceptance.", code="model_terms_required")),
    ("z.ai", 403, error("The subscription plan does not yet include access to GLM-9", code="1311")),
    ("Cloudflare", 403, cloudflare(5018, "The account is not allowed to access this model")),
    ("LiteLLM", 401, error("key not allowed to access model. This key can only access models=['a']. Tried to access b", type="key_model_access_denied", param="model", code="401")),
    ("LiteLLM", 401, error("Team not allowed to access model. Tried to access b", type="team_model_access_denied", param="model", code="401")),
]  # fmt: skip

OVERLOADED: list[Row] = [
    ("OpenAI", 429, error("That model is currently overloaded with other requests. You can retry your request.")),
    ("Moonshot", 429, error("The engine is currently overloaded, please try again later", type="engine_overloaded_error")),
    ("Mistral", 429, {"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "service_tier_capacity_exceeded", "code": "3505"}),
    ("Cerebras", 429, {"message": "We're experiencing high traffic right now! Please try again soon.", "type": "too_many_requests_error", "code": "queue_exceeded"}),
    ("llama.cpp", 503, error("Loading model", code=503, type="unavailable_error")),
    ("Hugging Face", 503, {"error": "Model acme/rocket is currently loading", "estimated_time": 20.0}),
    ("Gemini", 503, error("This model is currently experiencing high demand. Spikes in demand are usually temporary.", code=503, status="UNAVAILABLE")),
    ("NIM", 400, {"status": 400, "title": "Bad Request", "detail": "Function id '1': DEGRADED function cannot be invoked"}),
    ("Cloudflare", 429, cloudflare(3040, "Capacity temporarily exceeded, please try again.")),
    ("z.ai", 429, error("The model is currently experiencing high traffic, please try again later", code="1312")),
    ("DeepSeek", 503, error("Service is too busy. We advise users to switch to other providers for now.", type="service_unavailable_error")),
    ("SiliconFlow", 503, {"code": 50603, "message": "System is too busy now. Please try again later.", "data": None}),
]  # fmt: skip

PROTOCOL: list[Row] = [
    ("Groq", 400, error("Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.", code="tool_use_failed", failed_generation="<function=x>")),
    ("Groq, without its code", 400, error("tool call validation failed: attempted to call tool 'x' which was not in request.tools")),
    ("Groq, JSON", 400, error("Failed to validate JSON. Please adjust your prompt.", code="json_validate_failed")),
    ("Groq, forced", 400, error("Tool choice is required, but model did not call a tool")),
    ("Ollama", 500, {"error": "error parsing tool call: raw='{\"a\":', err=unexpected end of JSON input"}),
    ("malformed", 400, error("The model returned a malformed function call.", code="malformed_function_call")),
]  # fmt: skip

UNKNOWN: list[Row] = [
    ("FastAPI, a wrong path", 404, {"detail": "Not Found"}),
    ("Go, a wrong path", 404, b"404 page not found"),
    ("Azure, a wrong path", 404, error("Resource not found", code="404")),
    ("OpenAI, a wrong path", 404, error("Invalid URL (POST /v1/models/chat)", type="invalid_request_error")),
    ("Anthropic, a wrong path", 404, {"type": "error", "error": {"type": "not_found_error", "message": "Not Found"}}),
    ("Express, a wrong path", 404, b"Cannot POST /v1beta/models/rocket:generateContent"),
    ("a page", 404, b"<!doctype html><html><title>This model of car is not available</title></html>"),
    ("a page without a head", 410, b"<h1>Gone</h1>"),
    ("nothing", 404, b""),
    ("an empty object", 404, {}),
    ("null", 404, b"null"),
]  # fmt: skip

REGION: list[Row] = [
    ("OpenAI", 403, error("Country, region, or territory not supported", code="unsupported_country_region_territory")),
    ("Gemini", 400, error("User location is not supported for the API use.", code=400, status="FAILED_PRECONDITION")),
    ("a proxy", 403, error("This service is not available in your country.")),
]  # fmt: skip

TABLES = {
    K.CONTEXT_LENGTH: CONTEXT_LENGTH,
    K.MODEL_NOT_FOUND: MODEL_NOT_FOUND,
    K.BAD_REQUEST: BAD_REQUEST,
    K.QUOTA: QUOTA,
    K.RATE_LIMIT: RATE_LIMIT,
    K.CONTENT_POLICY: CONTENT_POLICY,
    K.CREDENTIAL: CREDENTIAL,
    K.PERMISSION: PERMISSION,
    K.OVERLOADED: OVERLOADED,
    K.PROTOCOL: PROTOCOL,
    K.UNKNOWN: UNKNOWN,
    K.REGION: REGION,
}


def as_bytes(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        pytest.param(kind, status, body, id=f"{kind.value}, {name} {number}")
        for kind, rows in TABLES.items()
        for number, (name, status, body) in enumerate(rows)
    ],
)
def test_an_error_of_a_product_is_of_its_kind(kind: FailureKind, status: int, body: object) -> None:
    assert classify(status, {}, as_bytes(body)).kind is kind


# ------------------------------------------------------------------ what only looks like a signal

NEGATIVE: list[tuple[str, FailureKind, int, object]] = [
    ("a parameter named model", K.BAD_REQUEST, 400, error("Invalid type for 'model': expected a string, but got an integer.", param="model")),
    ("a missing model field", K.BAD_REQUEST, 400, error("model: Field required", type="invalid_request_error")),
    ("a prompt that is repeated", K.BAD_REQUEST, 400, error("Invalid value for 'messages[0].role': 'the model gpt-9 does not exist and prompt is too long'.")),
    ("a prompt that is repeated", K.BAD_REQUEST, 422, {"detail": [{"loc": ["body", "messages"], "msg": "Input should be a valid list", "input": "my credit balance is too low and the model x does not exist"}]}),
    ("a prompt that is repeated", K.BAD_REQUEST, 400, error('Could not parse: "Incorrect API key provided, insufficient balance, please recharge"')),
    ("another field, whatever it repeats", K.BAD_REQUEST, 400, error("Invalid value: model not found", param="messages[1].content")),
    ("context as a word", K.BAD_REQUEST, 400, error("Missing required parameter: 'context'.")),
    ("context of a conversation", K.BAD_REQUEST, 400, error("No tool output found for function call call_1 in this context.")),
    ("a name too long", K.BAD_REQUEST, 400, error("Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64.", code="string_above_max_length")),
    ("an image too large", K.BAD_REQUEST, 400, error("messages.0.content.0.image.source: image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes")),
    ("an image too large", K.BAD_REQUEST, 400, error("The input image is too large. The maximum is 8000 pixels.")),
    ("output tokens", K.BAD_REQUEST, 400, error("max_tokens: 200000 > 128000, which is the maximum allowed number of output tokens for claude-x")),
    ("output tokens", K.BAD_REQUEST, 400, error("max_tokens is too large: 100000. This model supports at most 16384 completion tokens.")),
    ("output tokens", K.BAD_REQUEST, 400, error("max_completion_tokens (9000) exceeds the maximum allowed (8192)")),
    ("the end of an output", K.BAD_REQUEST, 400, error("Token limit reached", code=400)),
    ("too many tools", K.BAD_REQUEST, 400, error("Invalid 'tools': array too long. Expected an array with maximum length 128, but got 140.")),
    ("a schema", K.BAD_REQUEST, 400, error("tools.0.custom: For 'object' type, property 'location' is not supported", type="invalid_request_error")),
    ("a user location", K.BAD_REQUEST, 400, error("The parameter user_location is not supported with this tool.")),
    ("a file", K.BAD_REQUEST, 400, error("The file you gave to the model could not be read.")),
    ("a previous response", K.BAD_REQUEST, 400, error("Previous response with id 'resp_1' not found.", code="previous_response_not_found")),
    ("an item", K.UNKNOWN, 404, error("Item with id 'rs_1' not found. Items are not persisted when `store` is set to false.")),
    ("a role", K.BAD_REQUEST, 400, error("Unsupported value: 'messages[0].role' does not support 'system' with this model.", code="unsupported_value")),
    ("a deprecated option", K.BAD_REQUEST, 400, error("`top_k` is deprecated for this model.")),
    ("a tool's schema", K.BAD_REQUEST, 400, error("Invalid schema for function 'f': 'x' is not of type 'object'.", code="invalid_function_parameters")),
    ("JSON of the caller", K.BAD_REQUEST, 400, error("We could not parse the JSON body of your request.")),
    ("case-sensitive", K.BAD_REQUEST, 400, error("Field names are case-sensitive: content must be lower case")),
    ("a filter's option", K.BAD_REQUEST, 400, error("Unknown field: content_filter_parameter")),
    ("tokens in a crash", K.SERVER, 500, error("Internal error while counting tokens of the model")),
    ("a model in a crash", K.SERVER, 500, error("The model runner has unexpectedly stopped")),
    ("a model that does not load", K.SERVER, 500, error("runner process has terminated: error loading model")),
    ("a crash that speaks of limits", K.SERVER, 500, error("upstream timed out after 60 s, the limit")),
    ("a busy model", K.OVERLOADED, 429, error("The model is overloaded and not available, try again")),
    ("pace in tokens", K.RATE_LIMIT, 429, error("You have exceeded the token limit per minute for model x")),
    ("pace of a model", K.RATE_LIMIT, 429, error("Rate limit reached for model x: the model does not support more requests")),
    ("plans in a rate limit", K.RATE_LIMIT, 429, error("Rate limit reached. Upgrade your plan to get a higher limit.")),
    ("policy in a rate limit", K.RATE_LIMIT, 429, error("Too many requests, see our usage policies")),
    ("a proxy's credentials", K.UNKNOWN, 407, b"Proxy authentication required: invalid credentials"),
    ("a key that lacks a right", K.PERMISSION, 403, error("You are not allowed to sample from this model")),
    ("a wrong path with a model in it", K.UNKNOWN, 404, error("no route for POST /v1/models/rocket/generate")),
    ("a model that is loading", K.OVERLOADED, 503, error("model rocket not available: currently loading model")),
    ("an address of an image", K.BAD_REQUEST, 400, error("Failed to download image from https://host.test/quota-exceeded.png. The image server may be overloaded.", code="invalid_image_url")),
    ("an address of a file", K.BAD_REQUEST, 400, error("Could not fetch https://host.test/invalid-api-key/rate-limit-exceeded?model=not-found")),
    ("a file's name", K.BAD_REQUEST, 400, error("Image api_key_invalid.png could not be decoded")),
    ("a file's name", K.BAD_REQUEST, 400, error("Invalid file: insufficient_quota.csv")),
    ("a file's name with spaces", K.BAD_REQUEST, 400, error("File 'quota exceeded.pdf' not readable")),
    ("Gemini's role", K.BAD_REQUEST, 400, error("Role 'model' not found among the allowed roles")),
    ("a model's output", K.PROTOCOL, 500, error("Failed to parse input at pos 0: your api key is invalid, insufficient quota", code=500, type="server_error")),
    ("a crash under a 400", K.SERVER, 400, {"error": "The model has crashed without additional information. (Exit code: 18446744072635810000)"}),
    ("a model that is unloaded", K.SERVER, 400, {"error": "Model unloaded."}),
    ("no memory for the model", K.SERVER, 400, {"error": "Failed to load model \"x\". Error: Model loading was stopped due to insufficient system resources."}),
    ("an upstream's crash under a 400", K.SERVER, 400, error("Provider returned error", code=400, metadata={"raw": json.dumps({"error": {"message": "no", "code": 502}})})),
    ("no word for a field", K.BAD_REQUEST, 400, error("Value error", param="None", type="None", code="None")),
    ("a text refused by pydantic", K.BAD_REQUEST, 422, {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "Value error, not readable: the model x does not exist, insufficient quota"}]}),
    ("a text refused by pydantic", K.BAD_REQUEST, 422, {"detail": [{"loc": ["body", "messages", 0], "msg": "Value error, not readable: my api key is invalid"}]}),
    ("a limit of one worker of the server", K.SERVER, 502, error("Worker local total request limit reached (33/32)", code=502, metadata={"error_type": "provider_unavailable"})),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [row[1:] for row in NEGATIVE],
    ids=[f"{i} {row[0]}" for i, row in enumerate(NEGATIVE)],
)
def test_what_only_looks_like_a_signal_is_none(kind: FailureKind, status: int, body: object) -> None:
    assert classify(status, {}, as_bytes(body)).kind is kind


# ------------------------------------------------------------------ statuses


@pytest.mark.parametrize("body", [b"", b"no words we know", json.dumps(error("nope")).encode()])
def test_a_status_that_no_row_names_is_not_the_callers_fault(body: bytes) -> None:
    """Every 4xx but four: another worker may be well."""
    named = {400, 401, 402, 403, 408, 410, 413, 415, 422, 429, 498, 499}
    kinds = {status: classify(status, {}, body).kind for status in range(400, 500) if status not in named}
    assert set(kinds.values()) == {K.UNKNOWN}
    assert {classify(status, {}, body).kind for status in (400, 413, 415, 422)} == {K.BAD_REQUEST}


PAGE = b"<!DOCTYPE html>\n<html><head><style>h1{}</style><title>Oops</title></head><body><h1>Sorry</h1></body></html>"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, K.BAD_REQUEST), (401, K.CREDENTIAL), (402, K.QUOTA), (403, K.EDGE), (404, K.UNKNOWN), (405, K.UNKNOWN),
        (407, K.UNKNOWN), (410, K.UNKNOWN), (413, K.BAD_REQUEST), (429, K.RATE_LIMIT), (451, K.UNKNOWN), (500, K.EDGE),
        (502, K.EDGE), (503, K.EDGE), (529, K.OVERLOADED),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cut", [len(PAGE), 40])
def test_a_web_page_is_read_by_its_status_and_its_headers_count(
    status: int, kind: FailureKind, cut: int
) -> None:
    failure = classify(status, {"retry-after": "7", "x-request-id": "req_1"}, PAGE[:cut])
    assert (failure.kind, failure.retry_after, failure.request_id) == (kind, 7.0, "req_1")


def test_a_page_is_quoted_without_its_styles_and_scripts() -> None:
    page = b"<html><style>p { x }</style><script>alert(1)</script><p>Be back <b>soon</b></p></html>"
    assert classify(503, {}, page).message == "Be back soon"


# ------------------------------------------------------------------ facts beside phrases


def test_a_quota_phrase_with_a_short_hint_is_a_rate_limit() -> None:
    body = as_bytes({"error": "you've reached your hourly usage limit, please wait or upgrade to continue"})
    assert classify(429, {}, body).kind is K.QUOTA
    assert classify(429, {"retry-after": "300"}, body).kind is K.RATE_LIMIT
    assert classify(429, {"retry-after": "301"}, body).kind is K.QUOTA
    spent = error("Insufficient credits. In-flight budget used up.", code=402)
    assert classify(402, {"retry-after": "3"}, as_bytes(spent)).kind is K.RATE_LIMIT
    day = "Rate limit reached on tokens per day (TPD): Limit 100000, Used 99990. Please try again in {}."
    assert classify(429, {}, as_bytes(error(day.format("7.2s")))).kind is K.RATE_LIMIT
    assert classify(429, {}, as_bytes(error(day.format("5m1s")))).kind is K.QUOTA


def test_a_code_that_speaks_of_money_is_believed_whatever_a_proxy_adds() -> None:
    body = as_bytes(error("You exceeded your current quota", code="insufficient_quota"))
    assert classify(429, {"retry-after": "20"}, body).kind is K.QUOTA


def test_a_hint_in_the_upstreams_headers_counts() -> None:
    """OpenRouter keeps them beside the upstream's body."""
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}
    failure = classify(429, {}, as_bytes(router(429, "slow down", headers=headers)))
    assert (failure.kind, failure.retry_after) == (K.RATE_LIMIT, 30.0)


def test_the_message_is_that_of_the_provider_behind_a_gateway() -> None:
    failure = classify(400, {}, as_bytes(router(400, error("Unsupported parameter: 'x'", code=None))))
    assert failure.message == "Unsupported parameter: 'x'"


def test_a_code_is_known_by_any_spelling() -> None:
    for code in (
        "context_length_exceeded",
        "ContextLengthExceeded",
        "CONTEXT-LENGTH-EXCEEDED",
        "context length exceeded",
    ):
        assert classify(400, {}, as_bytes(error("no", code=code))).kind is K.CONTEXT_LENGTH


def test_a_type_in_a_header_counts() -> None:
    headers = {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/x/"}
    assert classify(400, headers, as_bytes({"message": "Slow"})).kind is K.RATE_LIMIT


def test_the_same_number_means_what_it_means_at_its_place() -> None:
    """1002 is a wrong token for z.ai and the pace for MiniMax; 1301 is sensitive content only for z.ai."""
    assert classify(400, {}, as_bytes(error("x", code="1002"))).kind is K.CREDENTIAL
    assert classify(400, {}, as_bytes(minimax(1002, "x"))).kind is K.RATE_LIMIT
    assert classify(400, {}, as_bytes(mistral("x", "y", "1301"))).kind is K.BAD_REQUEST


def test_an_error_body_may_come_as_an_event() -> None:
    body = b'event: error\ndata: {"error": {"message": "no", "code": "context_length_exceeded"}}\n\n'
    assert classify(400, {}, body).kind is K.CONTEXT_LENGTH


def test_a_body_without_a_status_is_read_by_the_status_it_names() -> None:
    assert classify_payload(router(429, "slow down")).kind is K.RATE_LIMIT
    assert classify_payload(error("no", code="401")).kind is K.CREDENTIAL
    assert classify_payload(minimax(1008, "insufficient balance")).kind is K.QUOTA
