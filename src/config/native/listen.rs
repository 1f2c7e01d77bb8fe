//! Listen directives: `0.0.0.0:8000 reuseport backlog=16384, [::]:8443 ssl http2`, or `off`.

use crate::plan::Bind;
use std::net::SocketAddr;

/// Length of the accept queue where none is given; Linux cuts it to `net.core.somaxconn`.
pub(crate) const BACKLOG: u32 = 4096;

/// What a directive says that the gateway cannot follow: the offending word and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    /// The word, as written.
    pub(crate) word: String,
    /// What is wrong with it.
    pub(crate) why: String,
    /// What to write.
    pub(crate) hint: &'static str,
}

/// Reads a list of sockets; `off` is none. `at` names the place in the binds.
///
/// # Errors
/// The first word that cannot be read.
pub(crate) fn parse(text: &str, at: &str) -> Result<Vec<Bind>, Bad> {
    if text.trim().eq_ignore_ascii_case("off") {
        return Ok(Vec::new());
    }
    text.split(',').map(|one| parse_one(one.trim(), at)).collect()
}

/// Reads one socket.
///
/// # Errors
/// The first word that cannot be read.
pub(crate) fn parse_one(text: &str, at: &str) -> Result<Bind, Bad> {
    let mut words = text.split_whitespace();
    let address = words.next().unwrap_or_default();
    let mut bind = Bind {
        addr: socket(address)?,
        tls: false,
        http2: false,
        proxy_protocol: false,
        backlog: BACKLOG,
        at: at.to_owned(),
        options: None,
    };
    for word in words {
        flag(&mut bind, word)?;
    }
    Ok(bind)
}

/// Reads `address:port`, where `*` is every IPv4 address and `localhost` is 127.0.0.1.
fn socket(text: &str) -> Result<SocketAddr, Bad> {
    let bad = |why: String, hint| Bad { word: text.to_owned(), why, hint };
    if text.is_empty() {
        return Err(bad("an address is missing".to_owned(), "write \"0.0.0.0:8000\", or \"off\""));
    }
    if text.starts_with("unix:") {
        return Err(bad("sockets of the file system are not served".to_owned(), "write \"127.0.0.1:8000\""));
    }
    let full = match text.split_once(':') {
        Some(("*", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    let hint = if text.bytes().all(|b| b.is_ascii_digit()) {
        "put the address before the port: \"0.0.0.0:8000\""
    } else {
        "write an IP address and a port: \"0.0.0.0:8000\", \"[::]:8000\""
    };
    full.parse().map_err(|_| bad(format!("not an address and port: \"{text}\""), hint))
}

fn flag(bind: &mut Bind, word: &str) -> Result<(), Bad> {
    let bad = |why: String, hint| Bad { word: word.to_owned(), why, hint };
    match word.split_once('=') {
        None => match word {
            "ssl" => bind.tls = true,
            "http2" => bind.http2 = true,
            "proxy_protocol" => bind.proxy_protocol = true,
            // Every shard opens its own socket with SO_REUSEPORT whether asked or not; Linux wakes a deferred accept
            // no earlier than our readiness does; `bind` says what we always do.
            "reuseport" | "deferred" | "bind" => {}
            _ => {
                let hint =
                    "flags: ssl, http2, proxy_protocol, reuseport, deferred, bind, backlog=N, so_keepalive=, ipv6only=";
                return Err(bad(format!("unknown flag \"{word}\""), hint));
            }
        },
        Some(("backlog", number)) => {
            let read = number.parse().ok().filter(|n| *n > 0);
            bind.backlog =
                read.ok_or_else(|| bad(format!("not a backlog: \"{number}\""), "write \"backlog=16384\""))?;
        }
        Some(("so_keepalive" | "ipv6only", _)) => {} // both are always on here
        Some((name, _)) => {
            return Err(bad(format!("unknown flag \"{name}=\""), "known are backlog=, so_keepalive=, ipv6only="))
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        let show_one = |b: Bind| {
            let mut out = b.addr.to_string();
            for (set, word) in [(b.tls, " ssl"), (b.http2, " http2"), (b.proxy_protocol, " proxy_protocol")] {
                if set {
                    out.push_str(word);
                }
            }
            if b.backlog != BACKLOG {
                out.push_str(&format!(" backlog={}", b.backlog));
            }
            out
        };
        match parse(text, "test") {
            Ok(binds) => binds.into_iter().map(show_one).collect::<Vec<_>>().join(", "),
            Err(bad) => format!("! {}", bad.why),
        }
    }

    #[test]
    fn directives_are_read_as_written() {
        let rows = [
            ("off", ""),
            ("OFF", ""),
            ("0.0.0.0:8000", "0.0.0.0:8000"),
            ("*:80", "0.0.0.0:80"),
            ("localhost:8001", "127.0.0.1:8001"),
            ("[::]:8000 ipv6only=on", "[::]:8000"),
            ("0.0.0.0:8000 reuseport backlog=16384", "0.0.0.0:8000 backlog=16384"),
            ("0.0.0.0:8000,0.0.0.0:8443 http2 ssl", "0.0.0.0:8000, 0.0.0.0:8443 ssl http2"),
            ("1.2.3.4:1 deferred bind so_keepalive=on proxy_protocol", "1.2.3.4:1 proxy_protocol"),
            ("", "! an address is missing"),
            ("0.0.0.0:8000,", "! an address is missing"),
            ("8000", "! not an address and port: \"8000\""),
            ("0.0.0.0", "! not an address and port: \"0.0.0.0\""),
            ("0.0.0.0:99999", "! not an address and port: \"0.0.0.0:99999\""),
            ("unix:/run/x.sock", "! sockets of the file system are not served"),
            ("0.0.0.0:8000 sll", "! unknown flag \"sll\""),
            ("0.0.0.0:8000 backlog=0", "! not a backlog: \"0\""),
            ("0.0.0.0:8000 rcvbuf=4k", "! unknown flag \"rcvbuf=\""),
        ];
        for (text, want) in rows {
            assert_eq!(show(text), want, "{text:?}");
        }
    }
}
