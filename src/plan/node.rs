//! The settings of the node while they are still being collected: a dialect's defaults, overwritten by what each file
//! says, in order. [`NodeDraft::finish`] looks at the whole and lets go of the places.
//!
//! Not here: reading (`config`), and opening the sockets (`boot`, `shard`).

use super::report::Report;
use super::{Bind, Listener, Node};
use crate::base::span::{At, Span};
use std::net::SocketAddr;

/// The settings of the node, and its sockets with the places they were written at.
#[derive(Clone, Debug)]
pub struct NodeDraft {
    /// Everything but the sockets; its `admin` is empty until [`NodeDraft::finish`].
    pub node: Node,
    /// Sockets for clients.
    pub listeners: Vec<At<Listener>>,
    /// Sockets of the Admin API.
    pub admin: Vec<At<Bind>>,
    /// Where the node's TLS was written.
    pub tls_at: Span,
    /// Who vouches for upstreams, as it was written: files, or texts in their place.
    pub upstream_authorities: Vec<String>,
}

impl NodeDraft {
    /// The node and its listeners; every two sockets that cannot both be opened are a fault at the later one.
    pub fn finish(self, report: &mut Report) -> (Node, Vec<Listener>) {
        let mut open: Vec<(Side, SocketAddr)> = Vec::new();
        let mut listeners = Vec::new();
        for At { value, span } in self.listeners {
            if vacant(&mut open, Side::Clients, &value.bind, &span, report) {
                listeners.push(value);
            }
        }
        let mut node = self.node;
        node.admin.clear();
        for At { value, span } in self.admin {
            if vacant(&mut open, Side::Admin, &value, &span, report) {
                node.admin.push(value);
            }
        }
        (node, listeners)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Clients,
    Admin,
}

/// Notes `bind` as open, unless a socket before it has the place.
fn vacant(
    open: &mut Vec<(Side, SocketAddr)>,
    side: Side,
    bind: &Bind,
    span: &crate::base::span::Span,
    report: &mut Report,
) -> bool {
    if bind.addr.port() == 0 {
        return true; // the kernel picks a free one
    }
    if let Some((_, other)) = open.iter().find(|(taker, addr)| clash(*taker == side, *addr, bind.addr)) {
        let message = format!("{} cannot be opened beside {other}, which is listed before it", bind.addr);
        report.fault(span, "", message, "give each its own port");
        return false;
    }
    open.push((side, bind.addr));
    true
}

/// Can these two not be open at once? Sockets of one side share their ports (SO_REUSEPORT), so that an address beside
/// its wildcard works there; the two sides do not share.
fn clash(same_side: bool, one: SocketAddr, two: SocketAddr) -> bool {
    let covered = one.ip() == two.ip() || one.ip().is_unspecified() || two.ip().is_unspecified();
    one == two || (!same_side && one.port() == two.port() && one.is_ipv4() == two.is_ipv4() && covered)
}

#[cfg(test)]
mod tests {
    use super::clash;

    #[test]
    fn sockets_clash_where_the_kernel_says_so() {
        // same side?, one, two, clash?
        let rows = [
            (true, "0.0.0.0:8000", "0.0.0.0:8000", true),
            (true, "0.0.0.0:8000", "127.0.0.1:8000", false),
            (true, "0.0.0.0:8000", "0.0.0.0:8001", false),
            (false, "0.0.0.0:8001", "127.0.0.1:8001", true),
            (false, "127.0.0.1:8001", "0.0.0.0:8001", true),
            (false, "127.0.0.1:8001", "127.0.0.2:8001", false),
            (false, "[::]:8001", "0.0.0.0:8001", false),
            (false, "[::]:8001", "[::1]:8001", true),
        ];
        for (same, one, two, want) in rows {
            let [a, b] = [one, two].map(|text| text.parse().unwrap());
            assert_eq!(clash(same, a, b), want, "{one} and {two}, same side: {same}");
        }
    }
}
