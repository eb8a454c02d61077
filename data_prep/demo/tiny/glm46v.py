"""The tiny GLM-4.6V: GLM-4.1V's layers.

The template's format is that of the published chat_template.jinja with enable_thinking=False: questions end with
/nothink, and an empty block of thoughts opens every answer.
"""

from dataclasses import replace

from data_prep.demo.tiny import glm4v

CHAT_TEMPLATE = """\
{{- '[gMASK]<sop>' -}}
{%- for message in messages -%}
    {{- '<|' + message['role'] + '|>\\n' -}}
    {%- if message['role'] == 'assistant' %}{{- '<think></think>\\n' }}{% endif -%}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<|begin_of_image|><|image|><|end_of_image|>' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {%- if message['role'] == 'user' and enable_thinking is false %}{{- '/nothink' }}{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>\\n' + ('<think></think>\\n' if enable_thinking is false else '') -}}
{%- endif -%}
"""

TINY = replace(glm4v.TINY, model_type="glm46v", tokens=(*glm4v.TOKENS, "/nothink"), chat_template=CHAT_TEMPLATE)
