//! The metrics as they are read: from the OpenMetrics text that the registry writes to Prometheus' older text format and
//! to JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// A metric with all its series.
#[derive(Debug)]
pub(super) struct Family<'a> {
    /// The name that its samples carry, but for the suffixes of a histogram.
    name: String,
    help: &'a str,
    kind: &'a str,
    samples: Vec<&'a str>,
}

/// The families in an OpenMetrics text, those without samples left out.
pub(super) fn families(open_metrics: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family> = Vec::new();
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), help) => families.push(Family {
                name: name.to_owned(),
                help: help.unwrap_or_default(),
                kind: "gauge",
                samples: Vec::new(),
            }),
            (Some("#"), Some("TYPE"), _, Some(kind)) => {
                if let Some(family) = families.last_mut() {
                    match kind {
                        "counter" => family.name.push_str("_total"),
                        "info" => family.name.push_str("_info"),
                        _ => {}
                    }
                    // Prometheus' text format has no infos; they are gauges that are always 1.
                    family.kind = if kind == "info" { "gauge" } else { kind };
                }
            }
            (Some("#"), ..) => {}
            _ => {
                if let Some(family) = families.last_mut() {
                    family.samples.push(line);
                }
            }
        }
    }
    families.retain(|family| !family.samples.is_empty());
    families
}

/// Prometheus' text format, version 0.0.4.
pub(super) fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for Family {
        name,
        help,
        kind,
        samples,
    } in families
    {
        // Writing to a string can't fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in samples {
            text.push_str(sample);
            text.push('\n');
        }
    }
    text
}

/// One object, with a member for each family: `{"type", "help", "series": [{"labels", "value"}]}`. A series of a histogram
/// has `count`, `sum` and cumulative `buckets` instead of `value`. Numbers that JSON can't write are null.
pub(super) fn json(families: &[Family]) -> Value {
    let members = families.iter().map(|family| {
        let series = if family.kind == "histogram" {
            histograms(family)
        } else {
            values(family)
        };
        let member = json!({"type": family.kind, "help": family.help, "series": series});
        (family.name.clone(), member)
    });
    Value::Object(members.collect())
}

fn values(family: &Family) -> Vec<Value> {
    let samples = family.samples.iter().filter_map(|line| Sample::parse(line));
    samples
        .map(|sample| json!({"labels": sample.labels, "value": number(sample.value)}))
        .collect()
}

fn histograms(family: &Family) -> Vec<Value> {
    let mut series: Vec<(Map<String, Value>, Map<String, Value>)> = Vec::new();
    for line in &family.samples {
        let Some(mut sample) = Sample::parse(line) else {
            continue;
        };
        let bound = sample.labels.remove("le");
        let position = series
            .iter()
            .position(|(labels, _)| *labels == sample.labels);
        let position = position.unwrap_or_else(|| {
            series.push((sample.labels, Map::new()));
            series.len() - 1
        });
        let members = &mut series[position].1;
        match sample.name.strip_prefix(family.name.as_str()) {
            Some("_sum") => {
                members.insert("sum".into(), number(sample.value));
            }
            Some("_count") => {
                members.insert("count".into(), number(sample.value));
            }
            Some("_bucket") => {
                let bound = bound
                    .as_ref()
                    .and_then(Value::as_str)
                    .map_or(f64::NAN, parse_number);
                let buckets = members.entry("buckets").or_insert_with(|| json!([]));
                // The last bucket holds everything, as `count` does.
                if let Value::Array(buckets) = buckets
                    && bound.is_finite()
                {
                    buckets.push(json!({"le": bound, "count": number(sample.value)}));
                }
            }
            _ => {}
        }
    }
    series
        .into_iter()
        .map(|(labels, members)| {
            let mut all = Map::from_iter([("labels".into(), Value::Object(labels))]);
            all.extend(members);
            Value::Object(all)
        })
        .collect()
}

/// A line with a value.
struct Sample<'a> {
    name: &'a str,
    labels: Map<String, Value>,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(end);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(labels) => parse_labels(labels)?,
            None => (Map::new(), rest),
        };
        Some(Self {
            name,
            labels,
            value: parse_number(value.split_whitespace().next()?),
        })
    }
}

/// Labels up to the closing brace, and what follows it.
fn parse_labels(mut rest: &str) -> Option<(Map<String, Value>, &str)> {
    let mut labels = Map::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next()? {
                (end, '"') => break end,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (_, character) => value.push(character),
            }
        };
        labels.insert(name.to_owned(), value.into());
        rest = &quoted[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn parse_number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().unwrap_or(f64::NAN),
    }
}

/// Whole numbers stay whole.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_METRICS: &str = "\
# HELP irori_build The Irori that runs.
# TYPE irori_build info
irori_build_info{version=\"0.1.0\"} 1
# HELP irori_images Images predicted.
# TYPE irori_images counter
irori_images_total{model=\"a \\\"b\\\" \\\\ }\",version=\"2\"} 7
# HELP irori_none Nothing yet.
# TYPE irori_none counter
# HELP irori_wait_seconds Waiting.
# TYPE irori_wait_seconds histogram
# UNIT irori_wait_seconds seconds
irori_wait_seconds_sum{model=\"a\"} 0.75
irori_wait_seconds_count{model=\"a\"} 3
irori_wait_seconds_bucket{le=\"0.1\",model=\"a\"} 1
irori_wait_seconds_bucket{le=\"+Inf\",model=\"a\"} 3
# EOF
";

    #[test]
    fn the_older_format_names_a_family_as_its_samples() {
        let text = text(&families(OPEN_METRICS));
        assert!(
            text.contains("# TYPE irori_build_info gauge\nirori_build_info{"),
            "{text}"
        );
        assert!(text.contains(
            "# HELP irori_images_total Images predicted.\n# TYPE irori_images_total counter\n"
        ));
        assert!(!text.contains("EOF") && !text.contains("UNIT") && !text.contains("irori_none"));
    }

    #[test]
    fn json_has_the_same_figures() {
        let json = json(&families(OPEN_METRICS));
        let images = &json["irori_images_total"];
        assert_eq!(images["type"], "counter");
        assert_eq!(
            images["series"],
            json!([{"labels": {"model": "a \"b\" \\ }", "version": "2"}, "value": 7}])
        );
        assert_eq!(
            json["irori_wait_seconds"]["series"],
            json!([{"labels": {"model": "a"}, "sum": 0.75, "count": 3, "buckets": [{"le": 0.1, "count": 1}]}])
        );
    }
}
