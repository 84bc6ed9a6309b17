"""Sentences of error messages that prove a failure kind: data, one row per kind of sentence. The first match counts.

A pattern is matched with a message after `wording.readable`: in lower case, one sentence per line, without quotation
marks, and without quotations of the request ("invalid value: 'explain why the model …'"). A gap such as `.{0,40}`
therefore never leaves its sentence. Patterns allow words between, another order, a plural, and any number or name.
`unless` names texts with which the same words mean something else. `statuses` are the HTTP statuses with which the row
counts: a 429 that mentions a model is still a rate limit.

In `source`, "ref" is the provider's error reference, "rec" recorded traffic, "field" public reports.
"""

from __future__ import annotations

from typing import final

import attrs

from .kinds import FailureKind

K = FailureKind

IN_STREAM = 0
"""In `statuses`: an error inside a stream with status 200."""

REQUEST_STATUSES = frozenset(
    {IN_STREAM, 400, 404, 405, 413, 415, 422, 500, 501}
)  # llama.cpp: 500 for what it cannot do
LENGTH_STATUSES = frozenset({IN_STREAM, 400, 403, 404, 413, 422, 500, 502})  # Together: 403
POLICY_STATUSES = frozenset({IN_STREAM, 400, 403, 404, 422, 451, 500, 502})
MODEL_STATUSES = frozenset({IN_STREAM, 400, 403, 404, 410, 422, 500, 502})
CREDENTIAL_STATUSES = frozenset({IN_STREAM, 400, 401, 403, 412, 498, 500, 502})
PERMISSION_STATUSES = frozenset({IN_STREAM, 400, 401, 403, 404, 412, 422, 434})
REGION_STATUSES = frozenset({IN_STREAM, 400, 403, 451})
QUOTA_STATUSES = frozenset(
    {IN_STREAM, 400, 401, 402, 403, 404, 412, 422, 429, 500, 502, 503}
)  # Fireworks: 412
OVERLOAD_STATUSES = frozenset({IN_STREAM, 400, 424, 429, 498, 500, 502, 503, 504, 529})
RATE_LIMIT_STATUSES = frozenset({IN_STREAM, 400, 403, 413, 422, 429, 500, 502, 503, 529})

_NOT = r"(?:not|n't)"
_THIS_MODEL = r"(?:(?:this|the|that|your|selected|specified|requested|current|these) )*models?\b"
_PACE = (
    r"rate.?limit|per[ _-]?(?:min|sec)|\b[ri]?[rt]pm\b|throttl|too many requests|concurren|wait before"
    r"|requests? rate|call rate|token rate"
)
_FEATURE = (
    r"(?<![\w/.:-])(?:tools?|tool.?(?:use|calls?|calling|choice)|functions?|function.?(?:calls?|calling)|images?"
    r"|vision|audio|videos?|pdfs?|documents?|files?|multi-?modal(?:ity)?|modalit(?:y|ies)|system|developer|reasoning"
    r"|thinking|streaming|json|structured outputs?|response.?formats?|log.?probs?|temperature|top.?[pk]|stop|penalty"
    r"|seed|prefill\w*|web.?search|caching|effort|lora|embeddings?|roles?|instructions?|parameters?|options?|fields?"
    r"|arguments?|propert(?:y|ies)|keywords?|values?)(?![\w/-])"
)
_PART = r"(?:outputs?|responses?|inputs?|parameters?|params?|fields?|calls?|context|config\w*|prompts?|messages?|tools?"
_PART += r"|providers?|weights?|files?|types?|runner|name missing)\b"
_MODEL = r"\b(?<!role )(?:models?|deployments?)\b"  # Gemini's role of an assistant is "model"
# One word; none that makes "model" a part of something else, such as "model output".
_NAME = rf"(?:[ :=/(]+(?!{_PART})[\w./:@+-]+\)?)?"
_VERB = r"(?: (?:is|was|are|were|has been|have been|has|had|could|can|does|do|did|currently|now|and|which))*"
_GONE = r"(?:decommissioned|deprecated|retired|removed|discontinued|sunset|shut ?down|deleted)"
_NOT_YOURS = (
    rf"{_NOT} (?:available|accessible|enabled) (?:to|for|in|on|with|under) (?:your|this) "
    r"(?:account|organi[sz]ation|project|team|workspace|key|api key|plan|tier|subscription)"
)
_PROMPT = r"\b(?:prompts?|inputs?|messages|conversation|contexts?|chat|history)\b"
# No word of this gap makes the long thing something else than the text.
_TEXT_ONLY = (
    r"(?:(?!image|file|audio|video|pixel|\bname|descri|\btools?\b|\burl|\bid\b|field|bytes|\bmb\b|schema"
    r"|\bitems?\b).)"
)
_EXCEEDS = r"(?:exceed\w*|overflow\w*|surpass\w*|longer than|greater than|larger than|more than|beyond|outside|\d ?>)"
_CONTEXT = r"\b(?:context|prompt)[ _-]?(?:length|window|size|limit|budget)s?\b"
_MAX = r"max(?:imum)?"
_WINDOW = r"(?:billing|budget|monthly|weekly|daily|annual|session|plan(?:'s)?|hard|spend(?:ing)?|usage)"
_EACH_DAY = r"(?:\bper (?:day|week|month)\b|/ ?(?:day|week|month)\b|\b[rt]pd\b)"
_CAP = r"(?:limit|quota|cap|budget|allowance|allocation)s?\b"
_SPENT = r"(?:reached|exceeded|hit|exhausted|used up|depleted)"


@final
@attrs.frozen
class Phrase:
    """A kind of sentence: any of the `patterns`, and none of `unless`."""

    kind: FailureKind
    """What it proves."""

    source: str
    """Where it is documented or was seen."""

    statuses: frozenset[int]
    """The HTTP statuses with which it counts."""

    patterns: tuple[str, ...]
    """Regular expressions for one sentence of a message."""

    unless: tuple[str, ...] = ()
    """Regular expressions for the whole message, with its quotations and codes."""


BEFORE_CODES: tuple[Phrase, ...] = (
    Phrase(
        # The tokens of a minute, under OpenAI's code of a spent quota. Looked for in the addresses as well.
        K.RATE_LIMIT,
        "DashScope ref (error-code#token-limit) and field",
        frozenset({IN_STREAM, 429}),
        (r"(?<!free )\ballocated quota exceeded", r"error-code#token-limit"),
    ),
)
"""Sentences that count more than any code, because a product uses another one's code with another meaning."""

PHRASES: tuple[Phrase, ...] = (
    Phrase(
        # The model's own output was wrong: the same request may succeed, here or elsewhere.
        K.PROTOCOL,
        "Groq rec, Ollama field",
        REQUEST_STATUSES,
        (
            r"failed to (?:call|invoke|generate|use|parse|validate) (?:an? |the )?(?:valid )?(?:function|tool)s?\b",
            r"(?:tool|function) calls? (?:validation|generation|parsing) (?:has )?failed",
            r"error parsing (?:tool|function) call",
            r"failed to (?:validate|generate) (?:valid )?json|failed_generation",
            r"(?:malformed|unparsa?ble)[ _](?:function|tool)[ _]calls?",
            r"model (?:did not|didn't|failed to) (?:call|use) ",
            r"model (?:produced|generated|returned|emitted) (?:an? )?(?:invalid|malformed|unparsa?ble) "
            r"(?:tool|function|json)",
            r"attempted to call (?:an? )?(?:tool|function)\b",
            r"model.{0,20}(?:output|generated).{0,20} not be parsed|generated output that could not be parsed",
            r"failed to parse input at pos \d",  # llama.cpp, which goes on to quote the output
        ),
        unless=(r"messages?\[|in (?:your|the) (?:request|messages|history)",),
    ),
    Phrase(
        # What the request needs is not offered: says nothing against the model, the key or the worker.
        K.BAD_REQUEST,
        "OpenAI, xAI, Ollama, DeepSeek, Mistral, Anthropic rec",
        REQUEST_STATUSES,
        (
            rf"\b(?:does|do) ?{_NOT} (?:currently |yet |natively )?support\b|\bha(?:s|ve) no support for\b",
            r"\bcan(?:not|'t) (?:handle|process|accept) |\bnot capable of\b",
            rf"{_NOT} (?:currently |yet )?(?:supported|compatible|available|enabled|allowed|accepted|implemented) "
            rf"(?:with|by|in|for|on) {_THIS_MODEL}",
            rf"(?:deprecated|unsupported|disabled|unavailable) (?:with|by|in|for|on) {_THIS_MODEL}",
        ),
        unless=(
            r"support (?:(?:the|this|that|requested|specified) )*models?\b(?! param| feat| opt)",
            r"\b(?:keys?|plans?|accounts?|subscriptions?|organi[sz]ations?|projects?|tiers?|regions?|country)\b.{0,40}"
            r"(?:support|available|enabled|allowed)",
        ),
    ),
    Phrase(
        K.BAD_REQUEST,
        "OpenRouter, llama.cpp, OpenAI rec, vLLM, Gemini field",
        REQUEST_STATUSES,
        (
            rf"{_FEATURE}.{{0,40}}(?:{_NOT} (?:currently |yet )?(?:supported|enabled|available|allowed|implemented)"
            r"|unsupported)",
            rf"unsupported.{{0,20}}{_FEATURE}",
            r"no endpoints? found that",
            r"\bonly supports?\b|supports only\b",
            r"\brequires? (?:the )?--\w|cannot use both|mutually exclusive|cannot be used (?:together|with)",
            rf"{_NOT} (?:a |an )?multi-?modal",
        ),
        unless=(
            r"\bonly supports? (?:the )?models?\b|only supports \d",
            r"in your (?:country|region)|(?:user|your) location is",
        ),
    ),
    Phrase(
        # One request larger than the budget of a minute: waiting never helps, a larger budget does.
        K.CONTEXT_LENGTH,
        "Groq rec, also beside 429; GitHub Models field",
        LENGTH_STATUSES | {429},
        (r"request too large for model\b|request body too large for \S+ model\b",),
    ),
    Phrase(
        # The context window by name, and that it is exceeded.
        K.CONTEXT_LENGTH,
        "OpenAI, xAI, vLLM, SGLang, Together, Mistral, llama.cpp, LM Studio, MiniMax, OpenRouter rec and field",
        LENGTH_STATUSES,
        (
            rf"(?:{_EXCEEDS}|fit (?:in|into|within)|too (?:long|large|many|big) for).{{0,70}}{_CONTEXT}",
            rf"{_CONTEXT}.{{0,60}}\b(?:exceed\w*|overflow\w*|surpassed|reached|too small)",
            rf"\) > {_CONTEXT}",
            r"\bcontext\b.{0,15}\boverflow|model.?context.?window.?exceeded",
            r"context[ _]length (?:is|of) only|(?:configured|available) context (?:size|length|window) (?:is|of)",
            rf"{_MAX} (?:allowed )?(?:context|prompt|model|input|sequence|token)s?[ _-](?:length|size|window|limit)\b"
            r".{0,60}?(?:\bis|\bof|:|=|\() ?(?:only )?\d",
            rf"(?<![\d,])\d[\d,]*+ (?:tokens? )?{_MAX} context|at most \d[\d,]* tokens of context",
            rf"{_EXCEEDS} .{{0,30}}(?:max_?model_?len|max_?seq_?len)|longer than the {_MAX} allowed context",
            r"must be (?:less|fewer|smaller|shorter) than (?:the )?max_?(?:model|seq)\w*_?len",
        ),
        unless=(r"per[ _-]?min|rate.?limit",),
    ),
    Phrase(
        # The text is too long.
        K.CONTEXT_LENGTH,
        "Anthropic, Perplexity, Bedrock, Databricks, GitHub Copilot, TGI, Moonshot, DashScope, z.ai rec and field",
        LENGTH_STATUSES,
        (
            rf"{_PROMPT}{_TEXT_ONLY}{{0,40}}?(?<!string )\btoo (?:long|large|big)\b",
            rf"(?:\bprompts?|\binputs?|\bmessages)\b{_TEXT_ONLY}{{0,40}}?\bexceed\w*{_TEXT_ONLY}{{0,40}}?"
            r"\b(?:length|limit|maximum|max|tokens?|allowed)\b",
            r"\b(?:prompt|inputs?|request|messages)\b.{0,40}\b\d[\d,]* (?:input |prompt )?tokens.{0,80}?"
            r"(?:too large|too long|longer|larger|greater|exceed|limit|maximum|only|at most|> ?\d)",
            r"(?:prompt|inputs?|prompt length|tokens)\b.{0,30}\b(?:is|are) (?:longer|larger|greater|more) than",
            r"reduce (?:the )?(?:length|size|number) of (?:the |your )?"
            r"(?:messages?|prompts?|inputs?|conversation|context)",
            r"(?:shorten|reduce) (?:your|the) (?:prompt|input|messages|conversation)|use a shorter (?:prompt|input)",
            r"inputs? tokens \+ max_?new_?tokens must be",
            r"inputs?\b.{0,20} must (?:have|be) (?:less|fewer|shorter) than \d+",
            r"range of input length should be|input tokens? length should be|expected maxlength: \d+, actual",
            r"(?:上下文|输入|提示词|prompt).{0,12}(?:超长|过长|超过|超出)",
        ),
        unless=(_PACE, r"\bquota\b"),
    ),
    Phrase(
        # A number of tokens is over a limit.
        K.CONTEXT_LENGTH,
        "Gemini, Cohere, Bedrock, Snowflake rec and field",
        LENGTH_STATUSES,
        (
            r"\btokens?\b(?: count| length)?.{0,60}\bexceed\w*.{0,60}(?:limit|max|allowed|\d)",
            rf"exceed\w*.{{0,40}}\b(?:(?:model )?token limit|(?:{_MAX}|allowed) (?:number of |allowed )?"
            r"(?:input |prompt )?tokens)\b",
            rf"exceed\w*.{{0,30}}{_MAX} (?:allowed )?input length",
            rf"token limit (?:has been |was )?exceeded|{_MAX} tokens (?:of \d+ )?exceeded",
            rf"too many (?:input |prompt |total )?tokens\b|more than (?:the )?{_MAX} tokens",
        ),
        unless=(
            _PACE,
            r"\bquota\b|per (?:day|month|week)|daily|monthly|organi[sz]ation|account",
            r"max_?(?:output_?|completion_?|new_?)?tokens\b(?: \(?\d[\d,]*\)?| value| of| is)* ?(?:exceed|too |must)",
            r"\boutput tokens",
        ),
    ),
    Phrase(
        # Money.
        K.QUOTA,
        "Anthropic, xAI, Gemini, z.ai, DashScope, Moonshot, Hugging Face, OpenRouter, DeepSeek rec and ref",
        QUOTA_STATUSES,
        (
            r"insufficient[ _](?:account[ _])?(?:balance|credits?|funds?|quota)|not enough (?:balance|credits?|funds)",
            r"(?:\bout of|no remaining|no more) (?:credits?|funds|balance)\b|\bno credits? (?:left|remain)",
            r"no resource package|requires more credits|credit limit|included credits|prepaid credit",
            r"(?:credit|account|prepaid|wallet) ?balance\b",
            r"balance (?:is|has been) (?:too low|insufficient|exhausted|negative)",
            r"\ball (?:of )?(?:your |the )?(?:available |free |remaining )?credits|used up (?:all )?your",
            r"credits? (?:has been |have been |are |is |were )?(?:exhausted|depleted|used up)",
            rf"{_MAX} billing|billing (?:hard )?limit|billing.{{0,20}}not (?:active|enabled)|billing has been disabled",
            r"in good standing|arrears|overdue (?:payment|bill)|payment (?:is )?(?:required|overdue)|unpaid"
            r"|no payment method",
            r"please (?:recharge|top.?up)|recharge your",
            r"余额不足|欠费|请充值|使用上限|额度.{0,6}(?:不足|用尽|耗尽|失败)",
        ),
    ),
    Phrase(
        K.QUOTA,
        "OpenAI rec; Google uses it for a minute as well, and only its QuotaFailure has the window",
        QUOTA_STATUSES,
        (r"exceeded your current quota",),
        unless=(r"resource_exhausted|allocated quota",),
    ),
    Phrase(
        # A window of a day and more.
        K.QUOTA,
        "Groq, Cohere, Ollama, MiniMax, Moonshot, Hugging Face, GitHub Models, OpenRouter rec and field",
        QUOTA_STATUSES,
        (
            r"spend(?:ing)? limit|usage limits?\b|free (?:allocated )?quota|daily free allocation",
            rf"free (?:tier|plan|allocation).{{0,40}}{_SPENT}|budget (?:has been )?exceeded",
            rf"(?:{_WINDOW}|key) (?:\w+ )?{_CAP}.{{0,40}}{_SPENT}",
            rf"{_SPENT} .{{0,40}}\b{_WINDOW} (?:\w+ )?{_CAP}",
            rf"(?:limit|exceed|quota|cap|reached).{{0,80}}(?:{_EACH_DAY}|per 86400 ?s|per-day|byday)",
            rf"{_EACH_DAY}.{{0,60}}(?:limit|exceed|quota|cap\b|reached)",
            rf"quota.{{0,40}}{_SPENT}|(?:{_SPENT}|out of) (?!your current).{{0,40}}\bquota\b",
        ),
        unless=(r"per[ _-]?(?:min|sec)|\b[rt]pm\b(?!.*\b[rt]pd\b)|(?<!free )allocated quota",),
    ),
    Phrase(
        K.MODEL_NOT_FOUND,
        "OpenAI, Gemini, xAI, Groq, Mistral, DeepSeek, Moonshot, z.ai, Cohere, Ollama, OpenRouter, Copilot, Bedrock,"
        " NIM, Cloudflare, Together, Fireworks, Hugging Face, Vertex AI rec and field",
        MODEL_STATUSES,
        (
            r"^model: (?=\S*[-.\d])[\w./:@-]+$",
            rf"{_MODEL}.{{0,60}}{_NOT} (?:supported|available|offered) in (?:your|this) (?:region|country|location)",
            rf"{_MODEL}(?: (?:ids?|names?|identifiers?|code|version))?{_NAME}(?: (?:you )?(?:requested|specified))?,?"
            rf"{_VERB} ?(?:{_NOT} (?:be )?(?:found|exists?\b|deployed|hosted|available|recogni[sz]ed|served"
            rf"|supported(?! with\b)|a chat model|a valid|accessible via)|{_GONE}"
            r"|no longer (?:available|accessible|supported|served|hosted|exists?))",
            rf"\bmodel (?:ids?|names?|identifiers?|code){_NAME}{_VERB} (?:invalid|unknown|{_NOT} valid)",
            r"(?:unknown|invalid|unsupported|unrecogni[sz]ed|non-?existent|no such|not found the"
            r"|unable to (?:find|access)|(?:could|can) ?(?:not|n't|'t) find"
            rf"|does ?{_NOT} support) ?(?:\w+ )?models?\b(?! {_PART})",
            r"\bno models? (?:\w+ )?(?:found|named|with (?:name|id)|matching|loaded|available)",
            rf"{_NOT} a (?:valid|known|supported|recogni[sz]ed|chat) model",
            r"supported .{0,20}models?\b.{0,200}you passed",
            r"no endpoints? found for|not found for account",
            rf"does ?{_NOT} work with the specified model|throughput is ?{_NOT} supported",
            r"end of (?:its |their )?life|(?:deployment|endpoint)\b.{0,60}does not exist",
            r"模型.{0,40}不存在",
        ),
        unless=(r"temporarily|try again later|currently loading|at the moment", _NOT_YOURS),
    ),
    Phrase(
        # A gateway that has no upstream for this model; it has others for other models.
        K.MODEL_NOT_FOUND,
        "one-api, new-api field",
        MODEL_STATUSES | {503},
        (r"no available channel|无可用渠道",),
    ),
    Phrase(
        K.REGION,
        "OpenAI, Gemini ref",
        REGION_STATUSES,
        (
            r"\b(?:country|region|territory|location)\b(?! (?:parameter|field|option|argument|property|value)).{0,40}"
            rf"{_NOT} (?:currently )?(?:supported|available|allowed)",
            rf"(?:{_NOT} (?:supported|available|offered)|unavailable) in your (?:country|region|territory|location)",
        ),
    ),
    Phrase(
        K.CONTENT_POLICY,
        "Azure, xAI, DeepSeek, Moonshot, DashScope, z.ai, OpenRouter, OpenAI, Vertex AI, MiniMax rec and ref",
        POLICY_STATUSES,
        (
            r"usage (?:guidelines|polic)|content (?:management |filtering |safety )?polic|responsible ai",
            r"content[ _-]filter(?:s|ed|ing)?\b(?! (?:param|field|option))",
            r"safety (?:system|filter|polic|guideline|check)|data inspection",
            r"content exists risk|considered high risk|new_sensitive|was flagged",
            r"(?:inappropriate|unsafe|harmful|prohibited|offensive|illegal|(?<!case.)sensitive)\b.{0,30}"
            r"\b(?:content|words|information|language)",
            r"(?:requires|blocked by|flagged by|failed) (?:content )?moderation",
            r"\b(?:flagged|blocked|rejected|filtered)\b.{0,40}\b(?:moderation|safety|polic|guardrail|filter|violence|risk"
            r"|harassment|hate|sexual|self.?harm)",
            r"violat\w+ .{0,60}(?:polic|guideline|terms of)|guardrail.{0,20}intervened",
            r"敏感|违规|不安全",
        ),
        unless=(
            r"\b(?:account|organi[sz]ation|project|workspace)s?\b.{0,30}(?:flagged|blocked|suspended|disabled)",
        ),
    ),
    Phrase(
        # A restricted key that still chats: not a wrong one.
        K.PERMISSION,
        "OpenAI rec",
        PERMISSION_STATUSES,
        (r"missing scopes|insufficient permissions?\b",),
    ),
    Phrase(
        K.CREDENTIAL,
        "OpenAI, xAI, Gemini, Cohere, Azure, DeepSeek, Bedrock, Hugging Face rec and field",
        CREDENTIAL_STATUSES,
        (
            r"(?:incorrect|invalid|wrong|expired|revoked|disabled|missing|unknown|malformed|inactive|no) (?:x-)?"
            r"(?:openai |your )?(?:api|access|auth\w*|subscription|bearer|secret)[ _-]?(?:keys?|token)",
            r"(?:api|access|subscription|secret)[ _-]?keys?(?:\b|_).{0,30}?"
            rf"(?:{_NOT} (?:be )?(?:valid|found|exist)|\binvalid|incorrect|expired|revoked|disabled|missing|leaked)",
            r"\bapi_key_(?:invalid|expired)",
            r"(?:security|access|bearer|auth\w*) token\b.{0,40}(?:invalid|expired|malformed)",
            r"token (?:seems|is|appears) (?:to be )?(?:invalid|expired)|invalid api token",
            r"invalid (?:authentication|credentials?)|bad credentials",
            r"authentication (?:failed|fails|failure|error|required)",
            rf"did ?{_NOT} provide an api key",
            r"\b(?:organi[sz]ation|account|project|workspace|team)(?:'s)?\b(?: \S+){0,3} (?:has been|is|was)"
            r" (?:temporarily |permanently )?(?:disabled|suspended|restricted|deactivated|banned|terminated)",
        ),
    ),
    Phrase(
        K.PERMISSION,
        "OpenAI, Bedrock, OpenRouter, MiniMax, Groq field",
        PERMISSION_STATUSES,
        (
            rf"(?:do|does) ?{_NOT} have (?:access|permission)|no access to (?:the )?model",
            rf"{_NOT} authori[sz]ed to|permission denied",
            _NOT_YOURS,
            rf"{_NOT} included in (?:your|the) (?:plan|subscription)|plan\b.{{0,20}}not support",
            r"matching your (?:data policy|guardrail)|no allowed providers",
            r"(?:accept|agree\w*) (?:to )?the (?:terms|license)|organi[sz]ation must be verified",
        ),
    ),
    Phrase(
        # The model or its process broke down, under a status that blames the request.
        K.SERVER,
        "LM Studio field",
        frozenset({IN_STREAM, 400, 422}),
        (
            r"\bmodel (?:has been |has |was )?(?:crashed|unloaded)\b",
            r"(?:process|runner|engine|backend|worker) (?:has )?(?:unexpectedly )?(?:crashed|terminated|exited|died)",
            r"failed to load (?:the )?model|insufficient system resources|out of memory",
        ),
    ),
    Phrase(
        K.OVERLOADED,
        "Anthropic, OpenAI, Gemini, Ollama, Mistral, llama.cpp, Hugging Face, NIM, z.ai rec and field",
        OVERLOAD_STATUSES,
        (
            r"\boverload|high (?:demand|traffic|load)",
            r"\b(?:server|service|system|model|engine) (?:is )?(?:\w+ )?busy",
            r"(?:over|at|out of|insufficient) capacity|no (?:available )?capacity|capacity (?:\w+ )?exceeded",
            r"(?<!error )(?<!failed )loading model"
            r"|(?:model|currently|still) (?:is )?loading|warming up|model is cold|degraded function",
            r"no (?:healthy|available) (?:upstream|instances?|model provider|executor)",
            r"访问量过大",
        ),
        unless=(r"rate.?limit (?:was |has been )?(?:exceeded|reached)|too many requests",),
    ),
    Phrase(
        K.RATE_LIMIT,
        "all, where the status does not say so",
        RATE_LIMIT_STATUSES,
        (
            r"rate[ _-]?limit(?:s|ed|ing)?\b.{0,60}(?:exceed|reach|hit|for|upstream)",
            r"(?:exceed\w*|reached|hit) .{0,40}rate[ _-]?limit|too many requests|requests? rate (?:limit|too high)",
            r"throttl(?:ed|ing)|concurren\w+ (?:\w+ )?(?:limit|requests)",
            r"并发数?过高|频率过高|速率限制",
        ),
    ),
)
