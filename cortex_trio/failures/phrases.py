"""What messages say: one row per sentence that providers use, as data. Read from the top, the first that fits wins.

A pattern is written for what `wording.readable` makes of a message: lower case, one line per sentence, without
quotes and backticks, and without what a provider repeats of the request ("invalid value: 'tell me why the model …'").
A gap such as `.{0,40}` therefore never leaves its sentence. Patterns allow for other words between, another order, a
plural and any number or name; `unless` names what makes the same words mean something else. `statuses` are those
beside which the sentence is believed: a 429 that mentions a model is still a 429.

"ref" is the provider's error reference, "rec" recorded traffic, "field" public reports.
"""

from __future__ import annotations

from typing import final

import attrs

from .kinds import FailureKind

K = FailureKind

IN_STREAM = 0
"""Stands in `statuses` for an error inside a 200 stream."""

OF_REQUEST = frozenset({IN_STREAM, 400, 404, 405, 413, 415, 422, 500, 501})
"""Statuses beside which a sentence about the request is believed; llama.cpp says 500 of what it cannot do."""

OF_LENGTH = frozenset({IN_STREAM, 400, 403, 404, 413, 422, 500, 502})
OF_POLICY = frozenset({IN_STREAM, 400, 403, 404, 422, 451, 500, 502})
OF_MODEL = frozenset({IN_STREAM, 400, 403, 404, 410, 422, 500, 502})
OF_KEY = frozenset({IN_STREAM, 400, 401, 403, 412, 498, 500, 502})
OF_RIGHTS = frozenset({IN_STREAM, 400, 401, 403, 404, 412, 422, 434})
OF_PLACE = frozenset({IN_STREAM, 400, 403, 451})
OF_MONEY = frozenset({IN_STREAM, 400, 401, 402, 403, 404, 412, 422, 429, 500, 502, 503})
OF_LOAD = frozenset({IN_STREAM, 400, 424, 429, 498, 500, 502, 503, 504, 529})
OF_PACE = frozenset({IN_STREAM, 400, 403, 413, 422, 429, 500, 502, 503, 529})

_PACE = (
    r"rate.?limit|per[ _-]?(?:min|sec)|\b[ri]?[rt]pm\b|throttl|too many requests|concurren"
    r"|wait before|requests? rate|call rate|token rate"
)
_NOT = r"(?:not|n't|n’t)"
_FEATURE = (
    r"(?<![\w/.:-])(?:tools?|tool.?(?:use|calls?|calling|choice)|functions?|function.?(?:calls?|calling)"
    r"|images?"
    r"|vision|audio|videos?|pdfs?|documents?|files?|multi-?modal(?:ity)?|modalit(?:y|ies)|system"
    r"|developer|reasoning"
    r"|thinking|streaming|json|structured outputs?|response.?formats?|log.?probs?|temperature|top.?[pk]"
    r"|stop|penalty"
    r"|seed|prefill\w*|web.?search|caching|effort|lora|parameters?|embeddings?|roles?"
    r"|instructions?)(?![\w/-])"
)
_MODEL = r"\b(?:models?|deployments?)\b"
_NAME = (  # of a model: one word, but none that makes the model part of something else
    r"(?:[ :=/(]+(?!(?:outputs?|responses?|inputs?|parameters?|fields?|calls?|context|params?|config\w*"
    r"|prompts?"
    r"|messages?|tools?|providers?|weights?|files?|types?)\b)[\w./:@+-]+\)?)?"
)
_ARE = r"(?: (?:is|was|are|were|has been|have been|has|had|could|can|does|do|did|currently|now|and|which))*"
_LONG = r"\b(?:prompts?|inputs?|messages|conversation|contexts?|chat|history)\b"
_NO_PART = (
    r"(?:(?!image|file|audio|video|pixel|\bname|descri|\btools?\b|\burl|\bid\b|field|bytes|\bmb\b|schema).)"
)


@final
@attrs.frozen
class Phrase:
    """A sentence and what it proves."""

    kind: FailureKind
    pattern: str
    source: str
    statuses: frozenset[int]
    unless: str | None = None


PHRASES: tuple[Phrase, ...] = (
    # ---- the model's own output was wrong: retried, then the next worker
    Phrase(
        K.PROTOCOL,
        r"failed to (?:call|invoke|generate|use|parse|validate) (?:an? |the )?(?:valid )?(?:function"
        r"|tool)s?\b"
        r"|(?:tool|function) calls? (?:validation|generation|parsing) (?:has )?failed"
        r"|error parsing (?:tool|function) call"
        r"|failed to (?:validate|generate) (?:valid )?json|failed_generation"
        r"|(?:malformed|unparsa?ble)[ _](?:function|tool)[ _]calls?|model (?:did not|didn't"
        r"|failed to) (?:call|use) "
        r"|model (?:produced|generated|returned|emitted) (?:an? )?(?:invalid|malformed"
        r"|unparsa?ble) (?:tool|function|json)"
        r"|attempted to call (?:an? )?(?:tool|function)\b",
        "Groq rec, Ollama field",
        OF_REQUEST,
        unless=r"messages?\[|in (?:your|the) (?:request|messages|history)",
    ),
    # ---- what the request needs is not offered: says nothing against the model, the key or the worker
    Phrase(
        K.BAD_REQUEST,
        rf"\b(?:does|do) ?{_NOT} (?:currently |yet |natively )?support\b|\bcan(?:not|'t) (?:handle|process"
        rf"|accept) "
        rf"|{_NOT} (?:currently |yet )?(?:supported|compatible|available|enabled|allowed|accepted"
        rf"|implemented) "
        r"(?:with|by|in|for|on|when using) (?:this|the|that|your|selected|specified|requested|current"
        r"|these| )*models?\b"
        r"|(?:deprecated|unsupported|disabled|unavailable) (?:with|by|in|for|on) (?:this|the|that"
        r"|requested| )*models?\b",
        "OpenAI, xAI, Ollama, DeepSeek, Mistral, Anthropic rec",
        OF_REQUEST,
        unless=r"support (?:the |this |that |requested |specified )*models?\b(?! param| feat| opt)"
        r"|\b(?:keys?|plans?|accounts?|subscriptions?|organi[sz]ations?|projects?|tiers?|regions?"
        r"|country)\b.{0,40}"
        r"(?:support|available|enabled|allowed)",
    ),
    Phrase(
        K.BAD_REQUEST,
        rf"{_FEATURE}.{{0,40}}(?:{_NOT} (?:currently |yet )?(?:supported|enabled|available|allowed"
        rf"|implemented)"
        rf"|unsupported)|unsupported.{{0,20}}{_FEATURE}|no endpoints? found that|\bonly supports?\b"
        rf"|supports only\b"
        r"|\brequires? (?:the )?--\w|cannot use both|mutually exclusive|cannot be used (?:together|with)"
        rf"|{_NOT} (?:a |an )?multi-?modal",
        "OpenRouter, llama.cpp, OpenAI rec, vLLM, Gemini field",
        OF_REQUEST,
        unless=r"\bonly supports? (?:the )?models?\b|in your (?:country|region)|location is",
    ),
    # ---- too long
    Phrase(
        K.CONTEXT_LENGTH,
        r"request (?:body )?too large for (?:model )?\S",
        "Groq 413, OpenAI 429 rec: one request larger than the whole budget of a minute, waiting never helps",
        OF_LENGTH | {429},
        unless=r"too large for (?:this |the )?(?:server|proxy|gateway)",
    ),
    Phrase(
        K.CONTEXT_LENGTH,
        # the context window by name, and that it is exceeded
        r"(?:exceed\w*|overflow\w*|surpass\w*|longer than|greater than|larger than|more than|beyond"
        r"|outside|"
        r"fit (?:in|into|within)|too (?:long|large|many|big) for).{0,70}\bcontext[ _-]?(?:length|window"
        r"|size|limit|budget)"
        r"|\bcontext[ _-]?(?:length|window|size|limit)s?\b.{0,60}\b(?:exceed\w*|overflow\w*|surpassed"
        r"|reached|too small)"
        r"|\bcontext\b.{0,15}\boverflow|context[ _]length (?:is|of) only|model.?context.?window.?exceeded"
        r"|(?:configured|available) context (?:size|length|window) (?:is|of)"
        r"|max(?:imum)? (?:allowed )?(?:context|prompt|model|input|sequence|token)s?[ _-](?:length|size"
        r"|window|limit)\b"
        r".{0,60}?(?:\bis|\bof|:|=|\() ?(?:only )?\d|\d[\d,]* (?:tokens? )?max(?:imum)? context",
        "OpenAI, xAI, vLLM, SGLang, Together, Mistral, llama.cpp, LM Studio, MiniMax, OpenRouter rec and field",
        OF_LENGTH,
        unless=r"per[ _-]?min|rate.?limit",
    ),
    Phrase(
        K.CONTEXT_LENGTH,
        # the prompt is too long
        rf"{_LONG}{_NO_PART}{{0,40}}?\btoo (?:long|large|big)\b(?! to (?:log|display))"
        rf"|\btoo long prompts?\b"
        rf"|(?:\bprompts?|\binputs?|\bmessages)\b{_NO_PART}{{0,40}}?\bexceed\w*{_NO_PART}{{0,40}}?"
        r"\b(?:length|limit|maximum|max|tokens?|allowed)\b"
        r"|\b(?:prompt|input|request|messages|inputs)\b.{0,40}\b\d[\d,]* (?:input |prompt )?tokens.{0,80}?"
        r"(?:too large|too long|longer|larger|greater|exceed|limit|maximum|only|at most|> ?\d)"
        r"|(?:prompt|input|inputs|prompt length|tokens)\b.{0,30}\b(?:is|are) (?:longer|larger|greater"
        r"|more) than"
        r"|reduce (?:the )?(?:length|size|number) of (?:the |your )?(?:messages?|prompts?|inputs?"
        r"|conversation|context)"
        r"|(?:shorten|reduce) (?:your|the) (?:prompt|input|messages|conversation)|use a shorter (?:prompt"
        r"|input)"
        r"|inputs? tokens \+ max_?new_?tokens must be|inputs?\b.{0,20} must (?:have|be) (?:less|fewer"
        r"|shorter) than \d+"
        r"|range of input length should be|expected maxlength: \d+, actual"
        r"|(?:上下文|输入|提示词|prompt).{0,12}(?:超长|过长|超过|超出)",
        "Anthropic, Perplexity, Bedrock, Databricks, GitHub Copilot, TGI, Moonshot, DashScope, z.ai rec and field",
        OF_LENGTH,
        unless=rf"{_PACE}|\bquota\b",
    ),
    Phrase(
        K.CONTEXT_LENGTH,
        # a number of tokens is over a limit
        r"\btokens?\b(?: count| length)?.{0,60}\bexceed\w*.{0,60}(?:limit|max|allowed|\d)"
        r"|exceed\w*.{0,40}\b(?:model token limit|token limit|(?:max(?:imum)?|allowed) (?:number of "
        r"|allowed )?"
        r"(?:input |prompt )?tokens)\b|exceed\w*.{0,30}max(?:imum)? (?:allowed )?input length"
        r"|token limit (?:has been |was )?(?:exceeded|reached)|max(?:imum)? tokens (?:of \d+ )?exceeded"
        r"|too many (?:input |prompt |total )?tokens\b|more than (?:the )?max(?:imum)? tokens",
        "Gemini, Cohere, Bedrock, Snowflake rec and field",
        OF_LENGTH,
        unless=rf"{_PACE}|\bquota\b|per (?:day|month|week)|daily|monthly|organi[sz]ation|account"
        r"|max_?(?:output_?|completion_?|new_?)?tokens\b(?: \(?\d[\d,]*\)?| value| of| \d+"
        r"| is)* ?(?:exceed|too |must)"
        r"|\boutput tokens",
    ),
    # ---- money, or a window of a day and more
    Phrase(
        K.QUOTA,
        r"insufficient[ _](?:account[ _])?(?:balance|credits?|funds?|quota)|not enough (?:balance"
        r"|credits?|funds)"
        r"|(?:\bout of|no remaining|no more) (?:credits?|funds|balance)\b"
        r"|\bno credits? (?:left|remain)|no resource package"
        r"|(?:credit|account|prepaid|wallet) ?balance\b|balance (?:is|has been) (?:too low|insufficient"
        r"|exhausted|negative)"
        r"|prepaid credit|all (?:of )?(?:your |the )?available credits"
        r"|credits? (?:has been |have been |are |is |were )?(?:exhausted|depleted|used up)"
        r"|used up (?:all )?your"
        r"|included credits|requires more credits|credit limit|in good standing|arrears"
        r"|maximum billing|billing (?:hard )?limit|billing.{0,20}not (?:active|enabled)"
        r"|billing has been disabled"
        r"|overdue (?:payment|bill)|payment (?:is )?(?:required|overdue)|unpaid|please (?:recharge"
        r"|top.?up)|recharge your"
        r"|余额不足|欠费|请充值|使用上限|额度.{0,6}(?:不足|用尽|耗尽)",
        "Anthropic, xAI, Gemini, z.ai, DashScope, Moonshot, Hugging Face, OpenRouter, DeepSeek rec and ref",
        OF_MONEY,
    ),
    Phrase(
        K.QUOTA,
        r"exceeded your current quota",
        "OpenAI rec; Google says so of a minute as well, then only its QuotaFailure tells which",
        OF_MONEY,
        unless=r"resource_exhausted|allocated quota",
    ),
    Phrase(
        K.QUOTA,
        r"spend(?:ing)? limit|usage limits?\b|api usage limits|free (?:allocated )?quota|free (?:tier"
        r"|plan|allocation).{0,40}"
        r"(?:exhausted|exceeded|used up|reached)|daily free allocation"
        r"|(?:billing|budget|monthly|weekly|daily|annual|key|session|plan|total) (?:\w+ )?(?:limit|quota"
        r"|cap|budget|allowance)s?"
        r"\b.{0,40}(?:reached|exceeded|hit|exhausted|used up)"
        r"|(?:reached|exceeded|hit|exhausted) .{0,40}\b(?:billing|budget|monthly|weekly|daily|annual"
        r"|session|plan) (?:\w+ )?"
        r"(?:limit|quota|cap|budget|allowance)"
        r"|budget (?:has been )?exceeded|(?:limit|exceed|quota|cap|reached).{0,80}(?:\bper (?:day|week"
        r"|month)\b"
        r"|/ ?(?:day|week|month)\b|per 86400 ?s|per-day|byday|\b[rt]pd\b)"
        r"|(?:per (?:day|week|month)\b|/ ?(?:day|month)|\(?\b[rt]pd\b).{0,60}(?:limit|exceed|quota|cap\b"
        r"|reached)"
        r"|quota.{0,40}(?:exceeded|exhausted|reached|used up)|(?:exceeded|exhausted|reached"
        r"|out of) .{0,40}\bquota\b",
        "Groq, Cohere, Ollama, MiniMax, Moonshot, Hugging Face, GitHub Models, OpenRouter rec and field",
        OF_MONEY,
        unless=r"per[ _-]?(?:min|sec)|\b[rt]pm\b(?!.*\b[rt]pd\b)|(?<!free )allocated quota",
    ),
    # ---- the model
    Phrase(
        K.MODEL_NOT_FOUND,
        rf"^model: (?=\S*[-.\d])[\w./:@-]+$|{_MODEL}.{{0,60}}{_NOT} (?:supported|available"
        rf"|offered) in (?:your|this) "
        r"(?:region|country|location)"
        rf"|{_MODEL}(?: (?:ids?|names?|identifiers?|code|version))?{_NAME}(?: (?:you )?(?:requested"
        rf"|specified))?,?{_ARE} ?"
        rf"(?:{_NOT} (?:be )?(?:found|exists?\b|deployed|hosted|available|recogni[sz]ed"
        rf"|supported(?! with\b)|served|a chat model|a valid"
        r"|accessible via)|decommissioned|deprecated|retired|removed|discontinued|sunset|shut ?down|deleted"
        r"|no longer (?:available|accessible|supported|served|hosted|exists?))"
        rf"|\bmodel (?:ids?|names?|identifiers?|code){_NAME}{_ARE} (?:invalid|unknown|{_NOT} valid)"
        rf"|(?:unknown|invalid|unsupported|unrecogni[sz]ed|non-?existent|no such|not found the"
        rf"|couldn't find(?: the)?"
        rf"|(?:could|can)(?:not| not|'t) find(?: the)?|unable to (?:find|access)(?: the)?"
        rf"|does ?{_NOT} support (?:the )?)"
        r" ?(?:\w+ )?models?\b(?! (?:outputs?|responses?|inputs?|parameters?|fields?|calls?|config))"
        r"|\bno models? (?:\w+ )?(?:found|named|with (?:name|id)|matching|loaded|available)"
        rf"|{_NOT} a (?:valid|known|supported|recogni[sz]ed|chat) model"
        rf"|supported .{{0,20}}models?\b.{{0,200}}you passed"
        r"|no endpoints? found for|no available channel|not found for account"
        r"|does ?n[o']t work with the specified model"
        r"|does not work with the specified model|throughput (?:is ?n[o'’]t|is not) supported"
        r"|end of (?:its |their )?life"
        r"|(?:deployment|endpoint)\b.{0,60}does not exist|模型.{0,40}不存在|无可用渠道",
        "OpenAI, Gemini, xAI, Groq, Mistral, DeepSeek, Moonshot, z.ai, Cohere, Ollama, OpenRouter, Copilot, "
        "Bedrock, NIM, Cloudflare, Together, Fireworks, Hugging Face, Vertex AI rec and field",
        OF_MODEL,
        unless=r"temporarily|try again later|currently loading|at the moment",
    ),
    # ---- where, and who
    Phrase(
        K.REGION,
        r"\b(?:country|region|territory|location)\b(?! (?:parameter|field|option|argument|property"
        r"|value)).{0,40}"
        rf"{_NOT} (?:currently )?(?:supported|available|allowed)|{_NOT} (?:supported|available"
        rf"|offered) in your "
        r"(?:country|region|territory|location)",
        "OpenAI, Gemini ref",
        OF_PLACE,
    ),
    Phrase(
        K.CONTENT_POLICY,
        r"usage (?:guidelines|polic)|content (?:management |filtering |safety )?polic"
        r"|content[ _-]filter(?!\w* (?:param|field))"
        r"|safety (?:system|filter|polic|guideline|check)|content exists risk|considered high risk"
        r"|new_sensitive"
        r"|(?:inappropriate|unsafe|harmful|prohibited|offensive|illegal"
        r"|(?<!case.)sensitive)\b.{0,30}\b(?:content|words|"
        r"information|language)|(?:requires|blocked by|flagged by|failed) (?:content )?moderation"
        r"|responsible ai"
        r"|\b(?:flagged|blocked|rejected|filtered)\b.{0,40}\b(?:moderation|safety|polic|guardrail|filter"
        r"|violence|risk"
        r"|harassment|hate|sexual|self.?harm)|was flagged|violat\w+ .{0,60}(?:polic|guideline|terms of)"
        r"|data inspection"
        r"|blocked by .{0,20}guardrail|guardrail.{0,20}intervened|敏感|违规|不安全",
        "Azure, xAI, DeepSeek, Moonshot, DashScope, z.ai, OpenRouter, OpenAI, Vertex AI, MiniMax rec and ref",
        OF_POLICY,
        unless=r"\b(?:account|organi[sz]ation|project|workspace)s?\b.{0,30}(?:flagged|blocked|suspended"
        r"|disabled)",
    ),
    Phrase(
        K.PERMISSION,
        r"missing scopes|insufficient permissions?\b",
        "OpenAI rec: a restricted key, which still chats",
        OF_RIGHTS,
    ),
    Phrase(
        K.CREDENTIAL,
        r"(?:incorrect|invalid|wrong|expired|revoked|disabled|missing|unknown|malformed|inactive"
        r"|no) (?:x-)?(?:openai |your )?"
        r"(?:api|access|auth\w*|subscription|bearer|secret)[ _-]?(?:keys?|token)|(?:api|access"
        r"|subscription|secret)[ _-]?keys?\b"
        rf".{{0,30}}?(?:{_NOT} (?:be )?(?:valid|found|exist)|\binvalid|incorrect|expired|revoked|disabled"
        rf"|missing|leaked)"
        r"|(?:security|access|bearer|auth\w*) token\b.{0,40}(?:invalid|expired|malformed)|token (?:seems"
        r"|is|appears)"
        r" (?:to be )?(?:invalid|expired)|invalid (?:authentication|credentials?)|bad credentials"
        r"|authentication (?:failed|fails|failure|error|required)|did ?n[o']t provide an api key"
        r"|invalid api token",
        "OpenAI, xAI, Gemini, Cohere, Azure, DeepSeek, Bedrock, Hugging Face rec and field",
        OF_KEY,
    ),
    Phrase(
        K.PERMISSION,
        rf"(?:do|does) ?{_NOT} have (?:access|permission)|{_NOT} authori[sz]ed to|permission denied"
        rf"|no access to (?:the )?model|{_NOT} included in (?:your|the) (?:plan|subscription)"
        r"|matching your (?:data policy|guardrail)|no allowed providers|plan\b.{0,20}not support"
        r"|(?:accept|agree\w*) (?:to )?the (?:terms|license)|organi[sz]ation must be verified",
        "OpenAI, Bedrock, OpenRouter, MiniMax, Groq field",
        OF_RIGHTS,
    ),
    # ---- load and pace
    Phrase(
        K.OVERLOADED,
        r"\boverload|server (?:is )?busy|(?:over|at|out of|no|insufficient) capacity"
        r"|capacity (?:\w+ )?exceeded"
        r"|high (?:demand|traffic|load)|loading model|(?:model|currently|still) (?:is )?loading"
        r"|warming up|degraded function"
        r"|no (?:healthy|available) (?:upstream|instances?|model provider|executor)|model is cold|访问量过大",
        "Anthropic, OpenAI, Gemini, Ollama, Mistral, llama.cpp, Hugging Face, NIM, z.ai rec and field",
        OF_LOAD,
        unless=r"rate.?limit (?:was |has been )?(?:exceeded|reached)|too many requests",
    ),
    Phrase(
        K.RATE_LIMIT,
        r"rate[ _-]?limit(?:s|ed|ing)?\b.{0,60}(?:exceed|reach|hit|for|upstream)|(?:exceed\w*|reached"
        r"|hit) .{0,40}rate[ _-]?limit"
        r"|too many requests|requests? rate (?:limit|too high)|throttl(?:ed|ing)"
        r"|concurren\w+ (?:\w+ )?(?:limit|requests)"
        r"|并发数?过高|频率过高|速率限制",
        "all, where the status does not say so",
        OF_PACE,
    ),
)
