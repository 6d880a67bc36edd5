"""The words by which `retrieval/follow_up.py` tells what a question leaves out, and what one before it was about."""

from __future__ import annotations

import re

ENDS = " \t\r\n。.？?！!，,；;：:…"

# Chinese patterns are held against Simplified characters (`fold_han` keeps every place).
ZH_PRONOUN = re.compile(r"它们?|他们|她们|(?<!其)他(?!人)|她|(?<![尤极与何之])其(?![他它中实余次间])")
ZH_POINTER = re.compile(
    r"(?:这|那|该|此)(?:一|两|几|些)?[个座家种款台份条项部间所位处套张本艘辆只件场次些里边儿]|[这那]些|[这那]时|"
    r"^(?:这|那)(?=是|有|要|怎|多|能|会|可|在|为|叫|什|里)|该[^不怎如]|此事|后者|前者|对方|同一|上述"
)
ZH_LEAD = re.compile(r"^(?:请问|那么|那|还有|以及|另外|至于|而|可是|但是|但|如果|要是|假如|换成|改成)+[，,\s]*")
ZH_FRAGMENT = re.compile(r"呢$")
# What a subject may be followed by; a question that opens with one of these has lost its subject.
ZH_PREDICATE = re.compile(
    r"^(?:还|也|都|又|再|总共|一共|大概|需要|要|得|可以|可|能不能|能|会不会|会|应该|"
    r"有没有|有多|有几|有哪|有什么|是不是|是否|是什么|是谁|是哪|为什么|为何|怎么|怎样|如何|多少|多久|多大|多高|多长|多远|多重|几|"
    r"什么时候|何时|在哪|在什么|位于|由谁|谁|哪)"
)
ZH_BARE = re.compile(r"^[^A-Za-z0-9]{1,4}(?:是|为)(?:多少|几)")  # 「电话是多少」: of what?
ZH_ASKING = re.compile(
    r"为什么|为何|什么时候|什么|怎么样|怎么|怎样|如何|是否|请问|多少|何时|何地|哪一?[年月天日个些座家位里种]|哪|谁|几|吗$|呢$|"
    r"有没有|有多|有(?=哪|几|什么)|是不是|是(?=什么|谁|哪|多少)|能不能|可不可以|需要|(?:成立|坐落|始建|[建创位生])于|[在由](?=哪|谁|什么)|"
    r"[，。？！,?!；;]"
)
ZH_OPENING = re.compile(
    r"^(?:谁|什么|哪|为什么|为何|怎么|怎样|如何|几[点时月天年号]?|多少|请问(?:谁|什么|哪|为什么|怎么|如何))"
)
ZH_NAME = re.compile(r"[A-Za-z0-9《“「『]")
ZH_PERSON = re.compile(r"[他她]|对方")

EN_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|this|these|those(?! \w+ (?:who|that|which|whose)\b)|"
    r"the (?:same|former|latter|other|others)|(?:which|this|that|the \w+|another) ones?)\b"
    r"|(?:^|\b(?:about|of|for|with|to|in|on|at|by|from|after|before|is|was|does|did|do|are|were|and|or) )"
    r"that\b(?! [a-z]+s? )"
    r"|\bthere(?=[?.!,]|$)|\bthere\b(?! (?:a|an|any|is|are|was|were|be)\b)|\b(?:what|who|anything|anyone|where) else\b",
    re.IGNORECASE,
)
EN_EXPLETIVE = re.compile(
    r"\b(?:is|was|are|were|be|has|have|had)(?:n't)? there\b|\bthere (?:is|are|was|were)\b"
    r"|\bit (?:takes?|took) (?:\w+ )?to\b|\b(?:is|was) it (?:possible|necessary|true|allowed|legal|safe|better)\b",
    re.IGNORECASE,
)
EN_LEAD = re.compile(r"^(?:(?:and|but|or|so|then|ok(?:ay)?|well|also|plus)\b[, ]*)+", re.IGNORECASE)
EN_ABOUT = re.compile(r"^(?:how|what) about\b|^(?:what|how) (?:if|of)\b", re.IGNORECASE)
EN_PREPOSITION = re.compile(
    r"^(?:in|on|at|for|with|without|during|after|before|since|from|to|by|until|as|under|over)\b", re.IGNORECASE
)
EN_ASKING = re.compile(
    r"^(?:(?:please|can you tell me|could you tell me|tell me|do you know|and|but|so)\b[, ]*)*"
    r"(?:(?:at|in|on|for|by|from|since|until|to|with) )?"
    r"(?:(?:who|whom|whose|when|where|why|what|which|how)\b"
    r"(?: (?:many|much|long|far|tall|high|old|large|big|often|fast|deep|heavy|year|time|day|kind of|sort of))?\s*)?"
    r"(?:(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may|must)\b(?:n't)?\s*)?",
    re.IGNORECASE,
)
# A question about "I" or "one", or about an adjective alone, says nothing of where.
EN_BARE = re.compile(
    r"^(?:(?:when|where|how|why|what)\b )?(?:do|does|did|can|could|must|may|should|will|is|are)\b "
    r"(?:i|we|you|one|people|that|this)\b|^how \w+$",
    re.IGNORECASE,
)
EN_NAME = re.compile(r"(?<=[a-z,] )(?!I\b)[A-Z]|\d")
EN_AUXILIARY = re.compile(
    r"\b(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may|must|who|what|when|where|why|how|which)\b",
    re.IGNORECASE,
)
EN_PERSON = re.compile(r"\b(?:he|him|his|she|her|hers|they|them|their)\b", re.IGNORECASE)
EN_WHICH = re.compile(r"\bwhich\b|\bwhat(?:'s| is| was) the name\b", re.IGNORECASE)
