//! Whether a text is an RFC 3339 time: the date library alone would take more spellings than that.

/// Whether `text` is `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)` and names a moment that exists.
pub(super) fn is_time(text: &str) -> bool {
    has_shape(text.as_bytes()) && text.parse::<jiff::Timestamp>().is_ok()
}

/// The shape of everything up to the seconds; `0` stands for any digit.
const HEAD: &[u8] = b"0000-00-00T00:00:00";
const OFFSET: &[u8] = b"00:00";

fn has_shape(text: &[u8]) -> bool {
    let Some((head, tail)) = text.split_at_checked(HEAD.len()) else {
        return false;
    };
    fits(head, HEAD) && is_offset(after_fraction(tail))
}

/// What follows the fraction; the whole tail where a dot has no digit behind it, which then is no offset.
fn after_fraction(tail: &[u8]) -> &[u8] {
    match tail {
        [b'.', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            let end = digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            digits.get(end..).unwrap_or_default()
        }
        _ => tail,
    }
}

fn is_offset(offset: &[u8]) -> bool {
    match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', hours_minutes @ ..] => fits(hours_minutes, OFFSET),
        _ => false,
    }
}

fn fits(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            shape => byte.eq_ignore_ascii_case(shape),
        })
}
