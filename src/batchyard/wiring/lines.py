"""What the lines of a server's batches are held to."""

from batchyard.dialect import LineDialect
from batchyard.dialects.gemini.embed import EMBEDDINGS
from batchyard.dialects.lines import gemini, nebius, openai
from batchyard.domain.batch import Form
from batchyard.domain.line import LineError
from batchyard.endpoints import ENDPOINTS
from batchyard.pipeline.heavy import Terms
from batchyard.pipeline.refuse import KEPT_ERRORS
from batchyard.service.model_batches import Checked


def line_dialect(run_id: str, terms: Terms, form: Form = Form.OPENAI) -> LineDialect:
    """The line dialect of one batch, or of an input that may become one.

    Equal terms find the same faults in lines; the form decides only how results are written.
    """
    if terms.lines is Form.GEMINI:
        return gemini.open(
            gemini.Config(
                run_id=run_id,
                default_model=terms.default_model,
                models=terms.models,
                embeddings=terms.endpoint == EMBEDDINGS,
            )
        )
    endpoints = {terms.endpoint: ENDPOINTS[terms.endpoint]}
    lines = nebius if form is Form.NEBIUS else openai
    return lines.open(
        openai.Config(
            run_id=run_id,
            endpoints=endpoints,
            models=terms.models,
            batch=True,
            several_models=terms.several_models,
            own_names=terms.own_names,
        )
    )


def checked(dialect: LineDialect, data: bytes) -> Checked:
    """Check all lines of a small input, as validating it will. Blocks."""
    lines, errors, count = 0, list[LineError](), 0
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line or line.isspace():
            continue
        lines += 1
        found = dialect.read(number, line)
        if isinstance(found, LineError):
            count += 1
            if len(errors) < KEPT_ERRORS:
                errors.append(found)
    return Checked(lines, errors, count)
