//! Which form a client wants an error in, by its Accept field.

/// A form an error body can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `application/json`, and what an unknown or absent Accept gets.
    #[default]
    Json,
    /// `text/html`
    Html,
    /// `text/plain`
    Plain,
    /// `application/xml`
    Xml,
}

impl Format {
    /// The Content-Type of a body in this form.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json; charset=utf-8",
            Format::Html => "text/html; charset=utf-8",
            Format::Plain => "text/plain; charset=utf-8",
            Format::Xml => "application/xml; charset=utf-8",
        }
    }

    /// The form for one media range, parameters already cut off; JSON for ranges we have nothing for.
    pub fn of_media(range: &[u8]) -> Format {
        let is = |text: &str| range.eq_ignore_ascii_case(text.as_bytes());
        if is("text/html") {
            Format::Html
        } else if is("text/plain") || is("text/*") {
            Format::Plain
        } else if is("application/xml") {
            Format::Xml
        } else {
            Format::Json
        }
    }
}

/// The form for this Accept value: the highest weight wins, the first of equals; a range we do not know counts as JSON.
///
/// A range with `q=0` is one the client refuses. Malformed weights count as 1, as if they were not there.
pub fn choose(accept: Option<&[u8]>) -> Format {
    let mut best = (0u16, Format::Json);
    for member in super::headers::csv(accept.unwrap_or(b"")) {
        let mut parts = member.split(|&byte| byte == b';').map(super::headers::trim);
        let Some(format) = parts.next().filter(|range| !range.is_empty()).map(Format::of_media) else { continue };
        let weight = parts.find_map(weight).unwrap_or(1000);
        if weight > best.0 {
            best = (weight, format);
        }
    }
    best.1
}

/// `q=0.123` in thousandths; `None` when the parameter is another one or is malformed.
fn weight(parameter: &[u8]) -> Option<u16> {
    let (b'q' | b'Q', rest) = parameter.split_first()? else { return None };
    let value = super::headers::trim(super::headers::trim(rest).strip_prefix(b"=")?);
    let (whole, digits) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut weight = u16::from(whole - b'0') * 1000;
    let mut scale = 100;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += u16::from(digit - b'0') * scale;
        scale /= 10;
    }
    Some(weight.min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_known_range_wins_and_the_first_of_equals() {
        let rows: &[(Option<&str>, Format)] = &[
            (None, Format::Json),
            (Some(""), Format::Json),
            (Some("*/*"), Format::Json),
            (Some("application/*"), Format::Json),
            (Some("text/*"), Format::Plain),
            (Some("text/html"), Format::Html),
            (Some("TEXT/HTML"), Format::Html),
            (Some("application/xml"), Format::Xml),
            (Some("image/png"), Format::Json),
            (Some("text/html;q=0.5, application/xml;q=0.9"), Format::Xml),
            (Some("text/html, application/xml"), Format::Html),
            (Some("application/xml, text/html"), Format::Xml),
            (Some("text/html;level=1;q=0.3, text/plain;q=0.4"), Format::Plain),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Format::Html),
            (Some("text/html;q=0"), Format::Json),
            (Some("text/html; q = 0.1, text/plain; Q=0.2"), Format::Plain),
            (Some("image/webp, text/plain;q=0.001"), Format::Json),
            (Some("text/html;q=junk"), Format::Html),
            (Some("text/html;q=0.9999, text/plain;q=0.9"), Format::Html),
            (Some(" , ;;, text/plain ,"), Format::Plain),
        ];
        for &(accept, want) in rows {
            assert_eq!(choose(accept.map(str::as_bytes)), want, "{accept:?}");
        }
    }
}
