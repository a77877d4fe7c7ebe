import pytest

from batchyard.workers.openai import BadRequest
from batchyard.workers.openvino.template import ChatTemplate

PLAIN = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"


def test_messages_are_written_as_the_model_knows_them() -> None:
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": [{"type": "text", "text": "a"}] * 2}]
    assert ChatTemplate(PLAIN, {}).render(messages, {}) == "[system:be][user:aa]>"


def test_a_template_knows_the_model_s_words_and_the_request_s_own() -> None:
    template = ChatTemplate("{{ bos_token }}{{ enable_thinking }}{{ {'é': 1} | tojson }}", {"bos_token": "<s>"})
    assert template.render([], {"enable_thinking": False}) == '<s>False{"é": 1}'


def test_a_template_may_refuse_messages() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", {})
    with pytest.raises(BadRequest, match="roles must alternate"):
        template.render([], {})


@pytest.mark.parametrize(
    "source", ["{{ messages.missing.name }}", "{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}"]
)
def test_a_template_can_neither_break_the_worker_nor_break_out(source: str) -> None:
    with pytest.raises(BadRequest):
        ChatTemplate(source, {}).render([{"role": "user", "content": "x"}], {})
