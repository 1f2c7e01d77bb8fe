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
