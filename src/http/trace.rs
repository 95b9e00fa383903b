//! The trace that a request belongs to: the W3C's Trace Context, level 1.
//!
//! A client's `traceparent` is gone on with; without a good one a new trace begins. The trace's id
//! stands in every line that is logged for the request, and in the answer's `traceresponse`.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rand::RngExt;
use tracing::Span;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// The flag that says that the caller records the trace.
const SAMPLED: u8 = 1;

/// A place in a trace: a span of the caller's, or the request's own. No id is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) sampled: bool,
}

impl Place {
    /// The caller's, if it says so in one `traceparent` that is as it must be.
    pub(super) fn of_caller(headers: &HeaderMap) -> Option<Self> {
        let mut stated = headers.get_all(TRACEPARENT).iter();
        match (stated.next(), stated.next()) {
            (Some(only), None) => Self::parse(only.as_bytes()),
            _ => None,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = split(known)?;
        let version = u8::try_from(hex(version, 2)?).ok()?;
        // Later versions may go on after another dash; 255 is none.
        if version == u8::MAX || !(rest.is_empty() || version > 0 && rest.starts_with(b"-")) {
            return None;
        }
        let place = Self {
            trace: hex(trace, 32)?,
            span: u64::try_from(hex(span, 16)?).ok()?,
            sampled: hex(flags, 2)? as u8 & SAMPLED != 0,
        };
        (place.trace != 0 && place.span != 0).then_some(place)
    }

    /// The place of a request, whose span this is, below its caller's.
    pub(super) fn of_request(span: &Span, caller: Option<Self>) -> Self {
        #[cfg(feature = "otlp")]
        if let Some(place) = super::otlp::place(span, caller) {
            return place;
        }
        #[cfg(not(feature = "otlp"))]
        let _ = span;
        let mut random = rand::rng();
        Self {
            trace: caller.map_or_else(|| random.random_range(1..=u128::MAX), |c| c.trace),
            span: random.random_range(1..=u64::MAX),
            sampled: caller.is_some_and(|caller| caller.sampled),
        }
    }

    /// As the value of a header.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.to_string()).ok()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

/// The four fields between dashes.
fn split(text: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = text.split(|byte| *byte == b'-');
    let four = [
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    ];
    fields.next().is_none().then_some(four)
}

/// A number of so many lower-case hexadecimal digits.
fn hex(text: &[u8], digits: usize) -> Option<u128> {
    let is_lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.iter().all(is_lower_hex) {
        return None;
    }
    u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_traceparent_is_read_and_written_alike() {
        let place = Place::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(place.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((place.span, place.sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(place.to_string(), GOOD);
        let later = format!("cc{}-what-comes", GOOD.trim_start_matches("00"));
        assert_eq!(Place::parse(later.as_bytes()), Some(place));
    }

    #[test]
    fn anything_else_is_none() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b77-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00.4bf92f3577b34da6a3ce929d0e0e4736.00f067aa0ba902b7.01",
        ] {
            assert_eq!(Place::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
