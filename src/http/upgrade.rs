//! WebSocket's handshake (RFC 6455 §4): does a request ask for it, and does a reply grant it? No other upgrade is passed on.

use super::framing::Length;
use super::head::{HeadRef, Method, Version};
use super::headers::{lists, Known};

/// Whether this request asks to become a WebSocket.
///
/// GET, HTTP/1.1, no body, `upgrade` among Connection and `websocket` among Upgrade. Anything less is an ordinary
/// request whose Upgrade field is dropped: RFC 9110 §7.8, "A server MAY ignore a received Upgrade header field". A body
/// before the switch is where smuggling through tunnels begins, so a request with one never becomes a tunnel.
pub fn is_websocket(head: HeadRef<'_>, length: Length) -> bool {
    head.has(Known::Upgrade)
        && head.head.method == Method::Get
        && head.head.version == Version::H11
        && matches!(length, Length::None | Length::Fixed(0))
        && lists(head, Known::Connection, b"upgrade")
        && lists(head, Known::Upgrade, b"websocket")
}

/// Whether this 101 grants what [`is_websocket`] asked for. A 101 that nobody asked for is a fault of the upstream.
pub fn is_granted(reply: HeadRef<'_>) -> bool {
    reply.head.status == 101
        && reply.head.version == Version::H11
        && lists(reply, Known::Connection, b"upgrade")
        && lists(reply, Known::Upgrade, b"websocket")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse::Parser;
    use crate::http::{framing, Head};

    #[test]
    fn only_a_whole_handshake_becomes_a_tunnel() {
        let rows: &[(&str, bool)] = &[
            ("GET /c HTTP/1.1|Upgrade: websocket|Connection: Upgrade", true),
            ("GET /c HTTP/1.1|Upgrade: WebSocket|Connection: keep-alive, upgrade", true),
            ("GET /c HTTP/1.1|Upgrade: h2c, websocket|Connection: x|Connection: UPGRADE", true),
            ("GET /c HTTP/1.1|Upgrade: websocket|Connection: upgrade|Content-Length: 0", true),
            ("GET /c HTTP/1.1|Upgrade: websocket|Connection: upgrade|Content-Length: 1", false),
            ("GET /c HTTP/1.1|Upgrade: websocket|Connection: upgrade|Transfer-Encoding: chunked", false),
            ("GET /c HTTP/1.1|Upgrade: websocket", false),
            ("GET /c HTTP/1.1|Upgrade: h2c|Connection: upgrade", false),
            ("GET /c HTTP/1.0|Upgrade: websocket|Connection: upgrade", false),
            ("POST /c HTTP/1.1|Upgrade: websocket|Connection: upgrade", false),
            ("GET /c HTTP/1.1|Connection: upgrade", false),
        ];
        for &(lines, want) in rows {
            let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
            let mut head = Head::new();
            Parser::default().request(text.as_bytes(), &mut head).expect("a sound head");
            let on = head.on(text.as_bytes());
            let length = framing::of_request(on).expect("a sound length");
            assert_eq!(is_websocket(on, length), want, "{lines}");
        }
    }

    #[test]
    fn a_grant_names_what_it_grants() {
        let rows: &[(&str, bool)] = &[
            ("HTTP/1.1 101 Switching Protocols|Upgrade: websocket|Connection: Upgrade", true),
            ("HTTP/1.1 101 Switching Protocols|Upgrade: h2c|Connection: Upgrade", false),
            ("HTTP/1.1 101 Switching Protocols|Upgrade: websocket", false),
            ("HTTP/1.0 101 Switching Protocols|Upgrade: websocket|Connection: Upgrade", false),
            ("HTTP/1.1 200 OK|Upgrade: websocket|Connection: Upgrade", false),
        ];
        for &(lines, want) in rows {
            let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
            let mut head = Head::new();
            Parser::default().reply(text.as_bytes(), &mut head).expect("a sound head");
            assert_eq!(is_granted(head.on(text.as_bytes())), want, "{lines}");
        }
    }
}
