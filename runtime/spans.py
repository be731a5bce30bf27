"""Spans of what actors do, for OpenTelemetry where that is installed and wanted: an interceptor like any other.

Each message, and each record that is reacted to, becomes a span: a child of the span of the message that caused it; else of the
`traceparent` that came with it; else of whatever the sender's own code is in. Where spans go is OpenTelemetry's own configuration. A step
of a journaled actor that is taken anew, after a state was fetched for it, is a span of its own.
"""

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtime.cell import Cell
from runtime.delivery import Delivery
from runtime.errors import Failure
from runtime.records import Recorded
from runtime.ref import ActorRef
from runtime.trace import of_record, span

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, TracerProvider

SPANS_KEPT_MAX = 10_000
"""Spans whose messages may still cause others; an older one's children are spans of its trace without it."""


class Spans:
    """Makes spans. Raises ImportError where `opentelemetry-api` is not installed (`gavel-runtime[otel]`)."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._tracer = trace.get_tracer("gavel.runtime", tracer_provider=provider)
        self._propagator = TraceContextTextMapPropagator()
        self._context_by_message: OrderedDict[int, SpanContext] = OrderedDict()

    def __call__(self, ref: ActorRef, message: Any, handle: Callable[[Any], Any]) -> Any:
        """The interceptor."""
        assert isinstance(ref, Cell)
        delivery = ref.current if not isinstance(message, Recorded) else None
        if ref._kind.is_async:
            # Its span begins with its first step: the call alone runs nothing.
            return self._awaited(ref, message, delivery, handle)
        with self._span(ref, message, delivery):
            return handle(message)

    async def _awaited(self, ref: Cell, message: Any, delivery: Delivery | None, handle: Any) -> Any:
        with self._span(ref, message, delivery):
            answered = handle(message)  # at once by a plain handler, where another interceptor waits
            return await answered if isinstance(answered, Coroutine) else answered

    @contextmanager
    def _span(self, ref: Cell, message: Any, delivery: Delivery | None) -> Iterator[None]:
        name = message.kind if isinstance(message, Recorded) else type(message).__name__
        with self._tracer.start_as_current_span(
            f"{ref._kind.name} {name}",
            self._parent(message, delivery),
            attributes=_attributes(ref, message, name, delivery),
            record_exception=False,
            set_status_on_exception=False,
        ) as made:
            if delivery is not None:
                self._keep(delivery.id, made.get_span_context())
            token = span.set(self._traceparent())
            try:
                yield
            except Exception as error:
                self._failed(made, error)
                raise
            finally:
                span.reset(token)

    def _parent(self, message: Any, delivery: Delivery | None) -> "Context | None":
        if isinstance(message, Recorded):
            return self._remote(of_record(message.meta.correlation, message.position))
        if delivery is None:
            return None
        cause = self._context_by_message.get(delivery.cause)
        if cause is not None:
            return self._trace.set_span_in_context(self._trace.NonRecordingSpan(cause))
        return self._remote(delivery.context.traceparent if delivery.context is not None else "")

    def _remote(self, traceparent: str) -> "Context | None":
        return self._propagator.extract({"traceparent": traceparent}) if traceparent else None

    def _traceparent(self) -> str:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent", "")

    def _keep(self, number: int, context: "SpanContext") -> None:
        self._context_by_message[number] = context
        if len(self._context_by_message) > SPANS_KEPT_MAX:
            self._context_by_message.popitem(last=False)

    def _failed(self, made: "Span", error: Exception) -> None:
        """A refusal is an answer; anything else is the actor's failure."""
        if isinstance(error, Failure):
            made.set_attribute("gavel.refused", str(error))
            return
        made.record_exception(error)
        made.set_status(self._trace.StatusCode.ERROR, f"{type(error).__name__}: {error}")


def _attributes(ref: Cell, message: Any, name: str, delivery: Delivery | None) -> dict[str, Any]:
    told: dict[str, Any] = {"gavel.actor": ref.path, "gavel.message": name}
    if isinstance(message, Recorded):
        meta = message.meta
        return told | {
            "gavel.position": message.position,
            "gavel.correlation": meta.correlation,
            "gavel.tenant": meta.tenant,
        }
    if delivery is None:
        return told
    told |= {"gavel.message_id": delivery.id, "gavel.cause": delivery.cause, "gavel.root": delivery.root}
    if delivery.context is not None:
        told |= {"gavel.tenant": delivery.context.tenant, "gavel.principal": delivery.context.principal}
    return told
