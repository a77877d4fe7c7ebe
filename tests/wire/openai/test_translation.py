"""Responses by an engine that only knows chats, as the strict client reads them."""

from batchyard.endpoints.responses import AS_CHAT
from batchyard.engines import echo
from batchyard.pipeline.translate import Translating
from batchyard.server.models import Model
from tests.support.serving import Live


async def test_a_chat_engine_answers_responses_for_the_strict_client(server: Live) -> None:
    engine = Translating(echo.open(echo.Config()), AS_CHAT)
    server.house.models.add(Model(name="translated", engine=engine, abilities=await engine.start()))
    async with server.client() as client:
        whole = await client.responses.create(model="translated", input="say this")
        async with client.responses.stream(model="translated", input="say this") as stream:
            told = await stream.get_final_response()
    assert whole.output_text == told.output_text == "say this"
    assert whole.usage is not None and whole.usage.total_tokens == 4
