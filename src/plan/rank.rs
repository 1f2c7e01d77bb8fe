//! The precedence of a route's matcher as one ordered number; larger wins.

/// 64 bits: number of attributes, plain host, number of headers, regex, regex priority, prefix length.
///
/// ```text
/// 63..61  populated attributes among methods, hosts, headers, snis, paths
/// 60      hosts set and none has a wildcard
/// 59..52  header names, at most 255
/// 51      the matcher of the regex paths
/// 50..19  regex_priority, for that matcher only
/// 18..0   bytes of the prefix, 0 for a regex
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u64);

/// What a [`Rank`] is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// Populated attributes, 0 to 5.
    pub attributes: u32,
    /// Hosts set, and none has a wildcard.
    pub plain_host: bool,
    /// Header names.
    pub headers: usize,
    /// The matcher of the regex paths, and their priority.
    pub regex_priority: Option<u32>,
    /// Bytes of the prefix.
    pub prefix_bytes: usize,
}

impl From<Parts> for Rank {
    fn from(parts: Parts) -> Rank {
        let mut rank = u64::from(parts.attributes.min(7)) << 61;
        rank |= u64::from(parts.plain_host) << 60;
        rank |= (parts.headers.min(255) as u64) << 52;
        match parts.regex_priority {
            Some(priority) => rank |= 1 << 51 | u64::from(priority) << 19,
            None => rank |= parts.prefix_bytes.min((1 << 19) - 1) as u64,
        }
        Rank(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_attributes_plain_host_headers_regex_priority_length() {
        let parts = Parts { attributes: 2, ..Parts::default() };
        let falling = [
            Parts { attributes: 3, ..parts },
            Parts { plain_host: true, ..parts },
            Parts { headers: 2, ..parts },
            Parts { headers: 1, regex_priority: Some(0), ..parts },
            Parts { headers: 1, prefix_bytes: 400, ..parts },
            Parts { regex_priority: Some(7), ..parts },
            Parts { regex_priority: Some(6), ..parts },
            Parts { prefix_bytes: 1 << 18, ..parts },
            Parts { prefix_bytes: 9, ..parts },
            parts,
        ];
        let ranks: Vec<Rank> = falling.into_iter().map(Rank::from).collect();
        assert!(ranks.windows(2).all(|pair| pair[0] > pair[1]), "{ranks:?}");
    }
}
