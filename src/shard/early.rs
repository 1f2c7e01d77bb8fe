//! What may be asked before the end of a TLS handshake (RFC 8446 §2.3, RFC 8470).
//!
//! Whoever is between can record it and send it again. On this node a session is good once, so a copy finds nothing
//! (`tls/sessions.rs`); a client that was refused may ask again elsewhere, though, and so may what stands between. So only
//! what changes nothing goes on at once, and says how it came; the rest waits for the end, which nobody can forge.

use super::count::bump;
use super::refusal::Refusal;
use super::request::Exchange;
use super::serve::Client;
use crate::base::limits::TLS_HANDSHAKE_MS;
use crate::base::time::Millis;
use crate::hook::Edits;
use crate::http::framing::Length;
use crate::http::Method;
use crate::io::clock;
use std::future::poll_fn;
use std::task::Poll;

/// "The client is unwilling to risk processing a request that might be replayed" (RFC 8470 §5.2), said by us.
const TOO_EARLY: u16 = 425;

/// Lets a request pass on that is safe, with `Early-Data: 1`; makes others wait for the end of the handshake.
///
/// # Errors
/// 425 where that does not come in time; [`Refusal::Gone`] where the client goes instead.
pub(super) async fn settle(cx: &Exchange<'_>, length: Length, edits: &mut Edits) -> Result<(), Refusal> {
    let (method, counters) = (cx.parts.head.head.method, &cx.shard.counters);
    let is_safe = matches!(method, Method::Get | Method::Head | Method::Options);
    if is_safe && length == Length::None && !cx.parts.websocket {
        // RFC 8470 §5.1: "An intermediary that forwards a request prior to the completion of the TLS handshake with its
        // client MUST send it with the Early-Data header field set to "1"".
        edits.set_request("Early-Data", b"1");
        bump(&counters.early_passed);
        return Ok(());
    }
    bump(&counters.early_waited);
    let completed = complete(cx.client).await;
    if let Err(Refusal::Client(TOO_EARLY, _)) = completed {
        bump(&counters.early_refused);
    }
    completed
}

/// Waits for the end of a client's handshake.
///
/// # Errors
/// As [`settle`].
pub(super) async fn complete(client: &Client) -> Result<(), Refusal> {
    client.watch.arm_read(Millis(clock::millis().0 + TLS_HANDSHAKE_MS));
    let completed = match client.is_http2() {
        false => client.stream.complete().await.is_ok(),
        // Its connection's own task reads.
        true => {
            poll_fn(|cx| {
                client.watch.wait(cx.waker());
                match client.watch.fired() {
                    Some(_) => Poll::Ready(()),
                    None => client.stream.poll_complete(cx),
                }
            })
            .await;
            !client.stream.is_early()
        }
    };
    client.watch.disarm_read();
    match completed {
        true => Ok(()),
        false if client.is_http2() => Err(Refusal::Client(TOO_EARLY, None)),
        false => Err(Refusal::Gone),
    }
}
