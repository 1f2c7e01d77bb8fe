//! Bodies of answers that are rewritten as they come, unlike those of [`Plugin::on_response_body`](super::Plugin), which are
//! held until they are whole.

/// Rewrites the body of one answer, piece by piece. Made by a plugin in its response hook, see
/// [`Edits::recode_reply`](super::Edits::recode_reply); what an upstream has sent is never held back for more than the
/// recoder itself keeps, so each must bound that.
pub trait Recode: std::fmt::Debug {
    /// Takes a piece of the body, without framing and of any length; what the client gets of it goes to `out`.
    ///
    /// # Errors
    /// Where it is nothing that can be rewritten: the client's connection is then cut.
    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit>;

    /// The body has ended; `trailers` are the lines of the section behind it, which the client gets in no other way.
    ///
    /// # Errors
    /// As for [`Recode::data`].
    fn end(&mut self, trailers: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit>;

    /// The body has broken off, with nothing to come. `true` where what goes to `out` tells the client so: then its own ends
    /// in good order. Otherwise its connection is cut.
    fn stop(&mut self, why: Stop, out: &mut Vec<u8>) -> bool {
        let _ = (why, out);
        false
    }
}

/// A body that cannot be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// Why a body has broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The upstream, or the connection to it, has ended.
    Broken,
    /// Time is up.
    Late,
}
