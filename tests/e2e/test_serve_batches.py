"""Batches as a user runs them: the server with the model in the package, and the official client."""

from pathlib import Path

from tests.support.batches import assert_whole, create, ended, lines_of, serving
from tests.support.cli import Cli
from tests.support.demo_lines import questions, write_batch


def test_the_demo_model_answers_a_batch_and_a_person_beside_it(cli: Cli, tmp_path: Path) -> None:
    asked = questions(24)
    write_batch(tmp_path / "in.jsonl", asked)
    with serving(cli, "--model", "demo") as (_, client):
        made = create(client, (tmp_path / "in.jsonl").read_bytes())
        answer = client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": asked[0].text}], max_tokens=32, temperature=0
        )
        batch = ended(client, made.id)
        assert (batch.status, batch.model) == ("completed", "demo")
        assert_whole(client, batch, [question.custom_id for question in asked])
        texts = {
            line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"]
            for line in lines_of(client, batch.output_file_id)
        }
    assert answer.choices[0].message.content == texts[asked[0].custom_id]
    assert sum(question.answer in texts[question.custom_id] for question in asked) >= len(asked) * 0.9
