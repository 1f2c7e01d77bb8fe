//! Words that both a node's settings and native files are written in: networks, DNS servers, header names, CPUs.

use std::net::{IpAddr, SocketAddr};

/// Reads an address or a CIDR block; host bits are dropped.
pub(crate) fn network(text: &str) -> Option<ipnet::IpNet> {
    let net = text.parse::<ipnet::IpNet>().map(|net| net.trunc());
    net.ok().or_else(|| text.parse::<IpAddr>().ok().map(ipnet::IpNet::from))
}

/// Reads the address of a DNS server; without a port it is 53.
pub(crate) fn dns_server(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    text.parse().ok().or_else(|| bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)))
}

/// Is this the name of a header (RFC 9110 §5.6.2 token)? The word `proxy_protocol` is one too.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Reads a list of CPUs, `0-3,8`, sorted and without duplicates.
///
/// # Errors
/// A sentence about the part that is none.
pub(crate) fn cpus(text: &str) -> Result<Vec<u32>, String> {
    // 4096: the most CPUs that Linux can be built for is 8192; a larger number is a slip of the pen.
    const LAST: u32 = 4095;
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last <= LAST => all.extend(first..=last),
            _ => return Err(format!("not a CPU or a range of CPUs: \"{part}\"")),
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_people_write_them() {
        let show = |text| network(text).map(|net| net.to_string());
        assert_eq!(show("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(show("::1").as_deref(), Some("::1/128"));
        assert_eq!(show("unix:"), None);
        let show = |text| dns_server(text).map(|server| server.to_string());
        assert_eq!(show("10.0.0.2").as_deref(), Some("10.0.0.2:53"));
        assert_eq!(show("[::1]:5353").as_deref(), Some("[::1]:5353"));
        assert_eq!(show("[::1]").as_deref(), Some("[::1]:53"));
        assert_eq!(show("dns.test"), None);
        assert_eq!(cpus("0-3,8, 2"), Ok(vec![0, 1, 2, 3, 8]));
        for bad in ["", "3-1", "a", "1-", "0-99999999"] {
            assert!(cpus(bad).is_err(), "{bad:?}");
        }
        assert!(is_token("X-Real-IP") && !is_token("") && !is_token("a b"));
    }
}
