//! Writes heads again: runs of kept field lines in one copy each.

use super::head::HeadRef;
use super::headers::Drop;

/// Appends the fields that `drop` does not drop, as `name: value CRLF`. Lines that already have this form are copied in
/// runs; the others are written anew.
pub fn fields(on: HeadRef<'_>, drop: &Drop, out: &mut Vec<u8>) {
    let mut run: Option<(usize, usize)> = None;
    for (index, field) in on.head.fields.iter().enumerate() {
        let kept = !drop.has(index);
        let (from, to) = (field.name_at as usize, (field.value_at + field.value_len) as usize + 2);
        if kept && field.plain {
            match &mut run {
                Some((_, end)) if *end == from => *end = to,
                _ => {
                    if let Some((from, to)) = run.replace((from, to)) {
                        out.extend_from_slice(&on.buf[from..to]);
                    }
                }
            }
            continue;
        }
        if let Some((from, to)) = run.take() {
            out.extend_from_slice(&on.buf[from..to]);
        }
        if kept {
            out.extend_from_slice(field.name(on.buf));
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value(on.buf));
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some((from, to)) = run {
        out.extend_from_slice(&on.buf[from..to]);
    }
}
