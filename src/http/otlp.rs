//! A request's span as OpenTelemetry has it: who its parent is, and what its ids are.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::trace::Place;

/// Begins a request's span below its caller's, and says where it stands; `None` where nothing is exported.
pub(super) fn place(span: &Span, caller: Option<Place>) -> Option<Place> {
    if let Some(caller) = caller {
        let flags = TraceFlags::default().with_sampled(caller.sampled);
        let caller = SpanContext::new(
            TraceId::from(caller.trace),
            SpanId::from(caller.span),
            flags,
            true,
            TraceState::default(),
        );
        span.set_parent(Context::new().with_remote_span_context(caller))
            .ok()?;
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    own.is_valid().then(|| Place {
        trace: u128::from_be_bytes(own.trace_id().to_bytes()),
        span: u64::from_be_bytes(own.span_id().to_bytes()),
        sampled: own.is_sampled(),
    })
}
