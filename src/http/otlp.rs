//! A request's span as OpenTelemetry has it: who its parent is, and what its ids are.

use axum::http::{Method, StatusCode};
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
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
    span.record("otel.kind", "server");
    let context = span.context();
    let own = context.span().span_context().clone();
    own.is_valid().then(|| Place {
        trace: u128::from_be_bytes(own.trace_id().to_bytes()),
        span: u64::from_be_bytes(own.span_id().to_bytes()),
        sampled: own.is_sampled(),
    })
}

/// Says what was asked and how it was answered, in the words of OpenTelemetry's conventions for HTTP.
pub(super) fn answered(span: &Span, method: &Method, route: &str, status: StatusCode) {
    let context = span.context();
    let span = context.span();
    span.update_name(format!("{method} {route}"));
    span.set_attributes([
        KeyValue::new("http.request.method", method.to_string()),
        KeyValue::new("http.route", route.to_owned()),
        KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
    ]);
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
}
