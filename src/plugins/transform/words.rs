//! A map of old texts to new ones, applied to a body in one pass: what was put in is not looked at again, and of two texts
//! that begin at one place the longer counts.

use aho_corasick::{AhoCorasick, MatchKind};

/// Old texts and new ones.
pub(in crate::plugins) struct Words {
    old: AhoCorasick,
    new: Vec<String>,
}

impl Words {
    /// Of these pairs; there must be one, and no old text may be empty.
    ///
    /// # Errors
    /// Where there are too many of them.
    pub(in crate::plugins) fn of(pairs: Vec<(String, String)>) -> Result<Words, String> {
        let (old, new): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
        let old = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(old);
        Ok(Words { old: old.map_err(|why| why.to_string())?, new })
    }

    /// The body with every old text replaced, `None` where there is none.
    ///
    /// # Errors
    /// Where it would have more than `bytes_max`.
    pub(in crate::plugins) fn replace(&self, body: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, TooLarge> {
        let (mut out, mut kept) = (Vec::new(), 0);
        for found in self.old.find_iter(body) {
            out.extend_from_slice(&body[kept..found.start()]);
            out.extend_from_slice(self.new[found.pattern().as_usize()].as_bytes());
            kept = found.end();
            if out.len() > bytes_max {
                return Err(TooLarge);
            }
        }
        if kept == 0 {
            return Ok(None);
        }
        out.extend_from_slice(&body[kept..]);
        if out.len() > bytes_max {
            return Err(TooLarge);
        }
        Ok(Some(out))
    }
}

/// What came of it is larger than bodies may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugins) struct TooLarge;

/// Is a body of this media type text? One without a type is taken for it.
pub(in crate::plugins) fn is_text(content_type: Option<&[u8]>) -> bool {
    let Some(value) = content_type else { return true };
    let media = value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let known: [&[u8]; 5] = [
        b"application/json",
        b"application/xml",
        b"application/x-www-form-urlencoded",
        b"application/javascript",
        b"application/graphql",
    ];
    media.is_empty()
        || media.starts_with(b"text/")
        || media.ends_with(b"+json")
        || media.ends_with(b"+xml")
        || media.ends_with(b"-json")
        || known.contains(&media.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_replaced_in_one_pass() {
        let pair = |old: &str, new: &str| (old.to_owned(), new.to_owned());
        let words = Words::of(vec![pair("a", "b"), pair("b", "a"), pair("ab", "-"), pair("gone", "")]).expect("few");
        let said =
            |text: &str, max| words.replace(text.as_bytes(), max).map(|out| out.map(|b| String::from_utf8(b).unwrap()));
        assert_eq!(said("a b ab gone.", 99), Ok(Some("b a - .".to_owned())));
        assert_eq!(said("xyz", 0), Ok(None));
        assert_eq!(said("aaaa", 3), Err(TooLarge));
        assert_eq!(said("axxx", 3), Err(TooLarge));
    }

    #[test]
    fn media_types_of_text_are_known() {
        for (media, want) in [
            (None, true),
            (Some("text/plain; charset=utf-8"), true),
            (Some("Application/JSON"), true),
            (Some("application/problem+json"), true),
            (Some("image/png"), false),
            (Some("application/octet-stream"), false),
            (Some("multipart/form-data; boundary=B"), false),
        ] {
            assert_eq!(is_text(media.map(str::as_bytes)), want, "{media:?}");
        }
    }
}
