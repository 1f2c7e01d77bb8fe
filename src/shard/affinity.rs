//! The hash that keeps like requests together: of what the upstream is configured to tell them apart by.
//!
//! Made once per request, before the first try, so that tries agree on where a request belongs. It is fed piece by piece
//! from where the pieces stand and allocates nothing. What is missing has its fallback; where that is missing as well,
//! the hash is that of nothing, and such requests all go to one target.

use super::look::Parts;
use super::tables::World;
use super::Shard;
use crate::balance::consistent_hashing::Hash;
use crate::base::limits::HASH_ARGS_MAX;
use crate::hook::{Edits, Identity};
use crate::http::{cookies, query, HeadRef};
use crate::plan::balancing::{HashOn, Hashing};
use crate::plan::Service;
use std::net::IpAddr;
use uuid::Uuid;

/// The hash of a request to `service`, whose upstream hashes. A client without the cookie that is hashed gets
/// one by way of `edits`.
pub(super) fn of(
    shard: &Shard,
    world: &World,
    parts: &Parts<'_>,
    service: &Service,
    identity: Identity,
    edits: &mut Edits,
) -> u32 {
    let upstream = world.tables.plan.upstream(service.upstream);
    let asked = Asked { shard, world, parts, identity, hashing: &upstream.hashing };
    let mut hash = Hash::new();
    let _ =
        asked.add(&upstream.hashing.on, edits, &mut hash) || asked.add(&upstream.hashing.fallback, edits, &mut hash);
    hash.finish()
}

struct Asked<'a> {
    shard: &'a Shard,
    world: &'a World,
    parts: &'a Parts<'a>,
    identity: Identity,
    hashing: &'a Hashing,
}

impl Asked<'_> {
    /// Adds what `on` names to the hash; `false`, and nothing is added, where the request has none.
    fn add(&self, on: &HashOn, edits: &mut Edits, hash: &mut Hash) -> bool {
        let parts = self.parts;
        match on {
            HashOn::None => false,
            HashOn::Consumer => self.consumer(hash),
            HashOn::Ip => {
                address(parts.facts.client_ip, hash);
                true
            }
            HashOn::Header(name) => header(parts.head, name, hash),
            HashOn::Cookie(name) => {
                match cookies::find(parts.head, name.as_bytes()) {
                    Some(value) => hash.add(value),
                    None => self.give_cookie(name, edits, hash),
                }
                true
            }
            HashOn::Path => {
                hash.add(parts.facts.path);
                true
            }
            HashOn::QueryArg(name) => self.query_arg(name, hash),
            HashOn::UriCapture(name) => self.capture(name, hash),
        }
    }

    fn consumer(&self, hash: &mut Hash) -> bool {
        let plan = &self.world.tables.plan;
        let consumer = self.identity.consumer.map(|ix| plan.consumers.id(ix));
        let id = consumer.or_else(|| self.identity.credential.map(|ix| plan.credentials.id(ix)));
        if let Some(id) = id {
            hash.add(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        }
        id.is_some()
    }

    /// Makes a cookie up, and hashes what the client will send from now on.
    fn give_cookie(&self, name: &str, edits: &mut Edits, hash: &mut Hash) {
        let mut text = Uuid::encode_buffer();
        let id =
            Uuid::from_bytes(self.shard.rng.borrow_mut().uuid_v4()).hyphenated().encode_lower(&mut text).as_bytes();
        hash.add(id);
        let mut field = self.shard.small.take();
        let path = self.hashing.cookie_path.as_bytes();
        // `Same-Site`, with the hyphen that the attribute does not have: what clients of other gateways are given.
        for piece in [name.as_bytes(), b"=", id, b"; Path=", path, b"; Same-Site=Lax; HttpOnly"] {
            field.extend_from_slice(piece);
        }
        edits.add_reply("Set-Cookie", &field);
        self.shard.put_buf(field);
    }

    fn query_arg(&self, name: &str, hash: &mut Hash) -> bool {
        let mut scratch = self.shard.small.take();
        let found = values_of(self.parts.facts.query.unwrap_or(b""), name.as_bytes(), &mut scratch, hash);
        self.shard.put_buf(scratch);
        found
    }

    fn capture(&self, name: &str, hash: &mut Hash) -> bool {
        let Some(found) = &self.parts.found else { return false };
        let mut scratch = self.shard.captures.borrow_mut();
        let captures = self.world.tables.routes.captures(found, self.parts.facts.path, &mut scratch);
        let value = captures.and_then(|captures| captures.named(name));
        value.inspect(|value| hash.add(value)).is_some()
    }
}

/// Values of a header, `, ` between them.
fn header(head: HeadRef<'_>, name: &str, hash: &mut Hash) -> bool {
    let mut any = false;
    for value in head.find_all(name.as_bytes()) {
        if any {
            hash.add(b", ");
        }
        hash.add(value);
        any = true;
    }
    any
}

/// The address as text: nodes of other kinds hash that.
fn address(ip: IpAddr, hash: &mut Hash) {
    use std::io::Write;
    // 45: the longest address, an IPv4 one mapped into IPv6.
    let mut text = [0u8; 45];
    let mut rest = &mut text[..];
    // It fits, by the length above.
    let _ = write!(rest, "{ip}");
    let left = rest.len();
    hash.add(&text[..text.len() - left]);
}

/// Decoded values of the arguments of a name, sorted, a comma between them.
fn values_of(query: &[u8], name: &[u8], scratch: &mut Vec<u8>, hash: &mut Hash) -> bool {
    let mut values: [&[u8]; HASH_ARGS_MAX] = [b""; HASH_ARGS_MAX];
    let mut count = 0;
    for arg in query::args(query) {
        if count < HASH_ARGS_MAX && query::decode(arg.name, scratch) == name {
            values[count] = arg.value.unwrap_or(b"");
            count += 1;
        }
    }
    let values = &mut values[..count];
    if count > 1 {
        let mut other = Vec::new();
        values.sort_unstable_by(|a, b| query::decode(a, scratch).cmp(query::decode(b, &mut other)));
    }
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            hash.add(b",");
        }
        hash.add(query::decode(value, scratch));
    }
    count > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Head;

    #[track_caller]
    fn same(one: impl Fn(&mut Hash) -> bool, text: Option<&str>) {
        let (mut got, mut want) = (Hash::new(), Hash::new());
        assert_eq!(one(&mut got), text.is_some());
        want.add(text.unwrap_or("").as_bytes());
        assert_eq!(got.finish(), want.finish(), "{text:?}");
    }

    #[test]
    fn query_values_are_decoded_sorted_and_joined() {
        let check = |query: &str, want| {
            same(|hash| values_of(query.as_bytes(), b"a", &mut Vec::new(), hash), want);
        };
        check("a=1", Some("1"));
        check("b=1&a=z&a=%61&a=m+n", Some("a,m n,z"));
        check("%61=x", Some("x"));
        check("a", Some(""));
        check("b=a&A=1", None);
        check("", None);
        let many: String = (0..HASH_ARGS_MAX + 9).map(|n| format!("a={n:03}&")).collect();
        let want: Vec<String> = (0..HASH_ARGS_MAX).map(|n| format!("{n:03}")).collect();
        check(&many, Some(&want.join(",")));
    }

    #[test]
    fn header_values_are_joined_in_their_order() {
        let (mut head, mut buf) = (Head::new(), Vec::new());
        head.append(&mut buf, b"X-A", b"2");
        head.append(&mut buf, b"x-a", b"1");
        same(|hash| header(head.on(&buf), "X-a", hash), Some("2, 1"));
        same(|hash| header(head.on(&buf), "x-b", hash), None);
    }

    #[test]
    fn an_address_is_hashed_as_text() {
        for text in ["127.0.0.1", "::1", "2001:db8:1111:2222:3333:4444:5555:6666", "::ffff:255.255.255.255"] {
            same(
                |hash| {
                    address(text.parse().unwrap(), hash);
                    true
                },
                Some(text),
            );
        }
    }
}
