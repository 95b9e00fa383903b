//! Text from outside, made safe to show: labels and data set names in a terminal or in XML.

/// `text` in at most `length` characters, an ellipsis standing for the rest.
///
/// Control characters become U+FFFD: XML 1.0 does not allow them, and a terminal would obey them. So do the
/// characters that turn the direction of the text around them.
pub(super) fn shown(text: &str, length: usize) -> String {
    let mut shown: String = text.chars().map(printable).take(length + 1).collect();
    if let Some((last, _)) = shown.char_indices().nth(length) {
        shown.truncate(last);
        shown.pop();
        shown.push('…');
    }
    shown
}

fn printable(character: char) -> char {
    match character {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        control if control.is_control() => '\u{fffd}',
        other => other,
    }
}

/// A count with a comma between thousands: `10,000`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
